"""A queue on disk between the plan and the threads that send: the plan runs ahead, memory stays level.

So the totals are known as soon as the tree has been walked, not when the last file is sent, and the listing is not kept
open for the hours of an upload.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from bulkhaul.errors import StorageError
from bulkhaul.transfer.lanes import Abandoned
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.spool import decode_batch, encode_batch

_BATCH = 64
_WAIT = 0.05  # seconds until the taker goes on with less than a batch: waking it for each task costs more than the task


class Backlog:
    """First in, first out, from one thread to one other; its unnamed file below `folder` is gone with the process."""

    def __init__(self, folder: Path, *, gate: Callable[[], None]) -> None:
        self._gate = gate
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by `close`
        self._changed = threading.Condition()
        self._batch: list[Upload | Compare] = []
        self._written: deque[tuple[int, int]] = deque()  # position and length of each batch in the file
        self._length = 0
        self._ended = False
        self._cancelled = False
        self._error: BaseException | None = None

    def put(self, task: Upload | Compare) -> None:
        """Append a task.

        Raises:
            Abandoned: nobody takes tasks any more.
        """
        with self._changed:
            if self._cancelled:
                raise Abandoned("plan", "it has been stopped", "see the first error")
            self._batch.append(task)
            if len(self._batch) >= _BATCH:
                self._write_batch()

    def end(self, error: BaseException | None = None) -> None:
        """No more tasks come; with an `error` those that are left are void."""
        with self._changed:
            try:
                if not self._cancelled and error is None:
                    self._write_batch()
            except OSError as full:
                error = full  # raised here it would end the plan's thread unseen, and its reader would wait for ever
            self._ended, self._error = True, error
            self._changed.notify()

    def cancel(self) -> None:
        """Nobody takes tasks any more."""
        with self._changed:
            self._cancelled = True

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def batches(self) -> Iterator[list[Upload | Compare]]:
        """Yield the tasks as they come, some at a time, until the end.

        Raises:
            BaseException: the error that ended the plan.
        """
        while (batch := self._next_batch()) is not None:
            position, length = batch
            data = os.pread(self._file.fileno(), length, position)
            if len(data) != length:
                raise StorageError(self._folder, "a file there lost what was written", "check the file system")
            yield decode_batch(data)

    def _next_batch(self) -> tuple[int, int] | None:
        while True:
            with self._changed:
                if not self._written and not self._ended:
                    self._changed.wait(_WAIT)
                    self._write_batch()
                if self._written or self._ended:
                    if self._error is not None:
                        raise self._error
                    return self._written.popleft() if self._written else None
            self._gate()  # a plan that hangs in a listing must not hide a stop

    def _write_batch(self) -> None:
        if self._batch:
            data = encode_batch(self._batch)
            self._batch.clear()
            rest = memoryview(data)
            while rest:  # an unbuffered file may take less than it is given, as on a disk that is nearly full
                rest = rest[self._file.write(rest) :]
            self._written.append((self._length, len(data)))
            self._length += len(data)
            self._changed.notify()
