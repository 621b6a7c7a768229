"""The sender processes of one worker: started when there is enough to send, kept from dataset to dataset."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from bulkhaul.proc import ProgramFailed, RunningModule
from bulkhaul.transfer.wire import Channel

_LOG = logging.getLogger(__name__)

WORTH_IT = 512
"""Small files from which on senders are started: they cost a quarter of a second of CPU, as much as 1,500 files."""

_PATIENCE = 10.0  # seconds for a process to end once its input is closed


class SenderHandle:
    """One sender process and the channel to it."""

    def __init__(self) -> None:
        self._module = RunningModule("bulkhaul.transfer.sender_process")
        self.pid = self._module.pid
        self.channel = Channel(self._module.output, self._module.input)

    def kill(self) -> None:
        """End it at once; what it had in flight is unknown."""
        self._module.kill()

    def close(self) -> None:
        """Let it end, and make sure that it has."""
        self.channel.close()
        self._module.wait(_PATIENCE)


class Senders:
    """A number of senders; a context manager that leaves none running. Used by one run after the other."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._handles: list[SenderHandle] = []
        self._expected = 0
        self._started = False  # or not to be started any more
        self._lock = threading.Lock()

    def __enter__(self) -> Senders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._started = True
        for handle in self._handles:
            handle.channel.close()  # all of them end at the same time
        for handle in self._handles:
            handle.close()

    def expect(self, files: int) -> None:
        """So many more small files are to be sent: with `WORTH_IT` of them the senders are started."""
        self._expected += files
        if self._expected >= WORTH_IT and not self._started:
            self.start()

    def start(self) -> None:
        """Start them all, once; they load what they need by themselves."""
        with self._lock:
            if self._started:
                return
            self._started = True
            handles = []
            try:
                for _ in range(self._count):
                    handles.append(SenderHandle())
            except ProgramFailed as error:
                _LOG.warning("fewer processes than cores send: %s", error)
            self._handles = handles

    def alive(self) -> list[SenderHandle]:
        """Those that have been started and not been lost."""
        return self._handles

    def lost(self, handle: SenderHandle) -> None:
        """A sender ended by itself or was killed; the worker sends what it would have."""
        with self._lock:
            self._handles = [other for other in self._handles if other is not handle]
        _LOG.warning("a sender process (pid %d) ended by itself; its files are sent without it", handle.pid)
        handle.kill()
        handle.close()
