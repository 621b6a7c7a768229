"""One heartbeat file a worker: a counter that rises, and the progress of its present job.

The file is overwritten in place, one block: that works on a full disk, and a torn read only looks like one more
change. The owner's side of the lease is here too: after 2/3 of it without a beat that reached the disk, nothing may
be sent before a new beat *and then* a look at the ledger.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bulkhaul.errors import StorageError, UsageError
from bulkhaul.fsio import open_shared, opened_anew, storage_errors

_BLOCK = 2048
_LONGEST_STOP = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a silent worker keeps its claim (`ttl`) and how often it beats, in seconds.

    Raises:
        UsageError: fewer than three beats fit into the lease.
    """

    ttl: float = 180.0
    heartbeat: float = 20.0

    def __post_init__(self) -> None:
        if self.heartbeat <= 0 or self.ttl < 3 * self.heartbeat:
            raise UsageError(
                f"lease of {self.ttl:g} s with a heartbeat of {self.heartbeat:g} s",
                "the lease must hold at least three heartbeats",
                "raise the lease or lower the heartbeat",
            )

    def trusts(self, age: float) -> bool:
        """Whether a worker may go on without a new beat, `age` seconds after its last good one began."""
        return age <= self.ttl * 2 / 3


@dataclass(frozen=True, slots=True)
class Progress:
    """What one claim has newly sent so far, and the file at hand."""

    job: str
    generation: int
    files: int = 0
    bytes: int = 0
    last: str = ""


def boot_seconds() -> float:
    """Seconds since the machine started, suspension included: a sleeping laptop's lease runs out too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_heartbeat(path: Path) -> bytes:
    """The raw file, empty when it is missing; opened anew, since NFS is fresh only at open.

    Raises:
        StorageError: the file cannot be read.
    """
    with storage_errors(path):
        try:
            return opened_anew(path.read_bytes)
        except FileNotFoundError:
            return b""


def read_progress(path: Path) -> Progress | None:
    """The progress in a heartbeat file, None when there is none to be read."""
    try:
        values = json.loads(read_heartbeat(path))["progress"]
        return None if values is None else Progress(**values)
    except (ValueError, KeyError, TypeError, StorageError):
        return None


class Heartbeat:
    """The beating thread of one worker; at most one job at a time rides on it, and without any it does not beat."""

    def __init__(self, path: Path, times: LeaseTimes, *, clock: Callable[[], float] = boot_seconds) -> None:
        self._path = path
        self._times = times
        self._clock = clock
        self._counter = 0
        self._progress: Progress | None = None
        self._look: Callable[[], None] | None = None
        self._last_good = float("-inf")
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bulkhaul-heartbeat", daemon=True)

    def start(self) -> None:
        """Beat once, then from a thread.

        Raises:
            StorageError: the first beat failed.
        """
        self.renew()
        self._thread.start()

    def stop(self, *, remove: bool) -> None:
        """End the thread; `remove` the file when no claim needs it any more."""
        self._stop.set()
        # A thread that hangs in a file system that hangs must not keep the worker from its exit.
        self._thread.join(timeout=_LONGEST_STOP)
        if remove:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def carry(self, progress: Progress | None, look: Callable[[], None] | None) -> None:
        """Let the beats carry `progress`; `look` is called at each beat and notes whether the claim still stands."""
        self._progress, self._look = progress, look

    def note(self, progress: Progress) -> None:
        """Replace the numbers that the next beat carries; a claim that is over has none to give."""
        carried = self._progress
        if carried is not None and (carried.job, carried.generation) == (progress.job, progress.generation):
            self._progress = progress

    def fresh(self) -> bool:
        """True while the last good beat is younger than 2/3 of the lease."""
        return self._times.trusts(self._clock() - self._last_good)

    def renew(self, *, only_if_stale: bool = False) -> None:
        """Beat, then look whether the claim still stands, and only then count the beat as good.

        Raises:
            StorageError: the beat or the look failed; the last good beat stays what it was.
        """
        with self._mutex:
            if only_if_stale and self.fresh():
                return
            began = self._clock()
            self._write()
            if self._look is not None:
                self._look()
            self._last_good = began

    def renew_before_claim(self) -> None:
        """Beat, unless the last good beat stays younger than 2/3 of the lease until the thread's next one.

        A worker without a job does not beat, and an observer whose clock is half as fast again may have watched it.

        Raises:
            StorageError: as for `renew`.
        """
        if not self._times.trusts(self._clock() - self._last_good + self._times.heartbeat):
            self.renew()

    def _run(self) -> None:
        while not self._stop.wait(self._times.heartbeat):
            if self._progress is None:
                continue  # nobody looks at the beats of a worker that holds no job
            try:
                self.renew()
            except StorageError as error:
                _log.warning("heartbeat failed: %s", error)

    def _write(self) -> None:
        self._counter += 1
        data = _encode(self._counter, self._progress)
        with storage_errors(self._path):
            fd = open_shared(self._path, os.O_WRONLY | os.O_CREAT)
            try:
                os.pwrite(fd, data, 0)
                os.fsync(fd)
            finally:
                os.close(fd)


def _encode(counter: int, progress: Progress | None) -> bytes:
    while True:
        values = {"counter": counter, "progress": None if progress is None else asdict(progress)}
        data = json.dumps(values).encode("ascii")
        if progress is None or len(data) < _BLOCK or not progress.last:
            return data.ljust(_BLOCK - 1) + b"\n"
        progress = replace(progress, last=progress.last[len(progress.last) // 2 + 1 :])
