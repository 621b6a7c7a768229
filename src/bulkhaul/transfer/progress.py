"""How far the transfer is, counted by many threads and told at each stage and about once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from bulkhaul.sources.tree import LocalFile
from bulkhaul.transfer.manifest import Outcome, Record
from bulkhaul.transfer.terms import Progress, Stage

_EVERY = 1.0  # seconds


class Tally:
    """Counts files and bytes (of this run) and reports them; safe from many threads, one report at a time."""

    def __init__(self, report: Callable[[Progress], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._lock = threading.Lock()
        self._told = float("-inf")
        self._stage: Stage = "plan"
        self._last = ""
        self._last_error = ""
        self.files_planned = 0
        self._planned_bytes = 0
        self._whole = False
        self._skipped = 0
        self._failed = 0
        self._done_bytes = 0
        self._partly = 0
        self.files_sent = 0
        self.bytes_sent = 0
        self._sent_here = 0

    def enter(self, stage: Stage) -> None:
        """Begin a stage; always reported."""
        with self._lock:
            self._stage = stage
            self._tell(self._clock())

    def restart(self) -> None:
        """Forget the plan, which is made anew; what was sent stays sent."""
        with self._lock:
            self.files_planned = self._planned_bytes = self._skipped = self._failed = 0
            self._done_bytes = self._partly = self._sent_here = 0
            self._whole = False

    def planned(self, size: int) -> None:
        """One more file of `size` bytes has been decided upon."""
        with self._lock:
            self.files_planned += 1
            self._planned_bytes += size

    def plan_ended(self) -> None:
        """The totals are known."""
        with self._lock:
            self._whole = True

    def settled(self, record: Record, *, sent: bool = False) -> None:
        """A file is done, `sent` by this run or not."""
        with self._lock:
            self._last = record.name
            self._done_bytes += record.size
            if sent:
                self.files_sent += 1
                self.bytes_sent += record.size
                self._sent_here += 1
            elif record.outcome is Outcome.FAILED:
                self._failed += 1
                self._last_error = f"{record.name!r}: {record.reason}"
            else:
                self._skipped += 1
            self._tell_if_due()

    def settled_elsewhere(self, tasks: Sequence[tuple[LocalFile, bool]]) -> None:
        """Files are done in another process, each sent by this run or found to be there."""
        with self._lock:
            for file, sent in tasks:
                self._done_bytes += file.size
                if sent:
                    self.files_sent += 1
                    self.bytes_sent += file.size
                    self._sent_here += 1
                else:
                    self._skipped += 1
                self._last = file.name
            self._tell_if_due()

    def moved(self, nbytes: int, name: str) -> None:
        """Some bytes of a large file arrived (or, negative, have to be sent again)."""
        with self._lock:
            self._last = name
            self._partly += nbytes
            self._tell_if_due()

    def _tell_if_due(self) -> None:
        now = self._clock()
        if now - self._told >= _EVERY:
            self._tell(now)

    def _tell(self, now: float) -> None:
        self._told = now
        self._report(
            Progress(
                stage=self._stage,
                files_done=self._sent_here + self._skipped + self._failed,
                files_total=self.files_planned if self._whole else None,
                bytes_done=self._done_bytes + self._partly,
                bytes_total=self._planned_bytes if self._whole else None,
                skipped=self._skipped,
                failed=self._failed,
                last=self._last,
                files_sent=self.files_sent,
                bytes_sent=self.bytes_sent + self._partly,
                last_error=self._last_error,
            )
        )
