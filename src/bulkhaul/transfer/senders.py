"""The sender processes of one worker: started when there is enough to send, kept from dataset to dataset."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from types import TracebackType

from bulkhaul.proc import ProgramFailed, RunningModule
from bulkhaul.transfer.wire import Channel, Message, Pulse

_LOG = logging.getLogger(__name__)

WORTH_IT = 512
"""Small files from which on senders are started: they cost a quarter of a second of CPU, as much as 1,500 files."""

_ENVIRONMENT = {
    # There is a process for each core: obstore's threads, as many as cores in each, would mostly wake one another.
    "TOKIO_WORKER_THREADS": "1",
    # glibc raises this by itself and then keeps what is freed: four files of 8 MiB in flight held 130 MiB.
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
}

_LONGEST_LINE = 1_000  # bytes of what a sender says to nobody in particular
_PATIENCE = 10.0  # seconds for a process to end once its input is closed


class SenderHandle:
    """One sender process. Nobody waits for it to read: a thread of its own writes what is posted, in order."""

    def __init__(self) -> None:
        self._module = RunningModule("bulkhaul.transfer.sender_process", _ENVIRONMENT)
        self.pid = self._module.pid
        self._channel = Channel(self._module.output, self._module.input)
        self._posted: SimpleQueue[Message | None] = SimpleQueue()
        self._pulse: Pulse | None = None  # the newest, until it is written
        self._lock = threading.Lock()
        threading.Thread(target=self._write, name="sender-writer", daemon=True).start()
        threading.Thread(target=self._listen, name="sender-errors", daemon=True).start()

    def post(self, message: Message) -> None:
        """Send a message; a pulse takes the place of one that still waits: a sender that hangs piles up none."""
        if isinstance(message, Pulse):
            with self._lock:
                waiting, self._pulse = self._pulse, message
            if waiting is not None:
                return
        self._posted.put(message)

    def receive(self) -> Message | None:
        """The next message of the sender; None when it has ended."""
        return self._channel.receive()

    def kill(self) -> None:
        """End it at once; what it had in flight is unknown."""
        self._module.kill()

    def end(self) -> None:
        """Let it end, once it has read what was posted before."""
        self._posted.put(None)

    def close(self) -> None:
        """Let it end, and make sure that it has."""
        self.end()
        self._module.wait(_PATIENCE)

    def _write(self) -> None:
        while (message := self._posted.get()) is not None:
            if isinstance(message, Pulse):
                with self._lock:
                    assert self._pulse is not None
                    message, self._pulse = self._pulse, None
            if not self._channel.send(message):
                break
        self._channel.close()

    def _listen(self) -> None:
        """Put into our log what the process says on its standard error, such as the reason of its end."""
        with self._module.errors as errors:
            while line := errors.readline(_LONGEST_LINE):
                _LOG.warning("sender process (pid %d): %s", self.pid, line.decode(errors="replace").rstrip())


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
            handle.end()  # all of them at the same time
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
