"""A claim in the hand of its worker: the gate, the log, and the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from bulkhaul.errors import ClaimLost, StorageError
from bulkhaul.fsio import open_shared, storage_errors
from bulkhaul.joblist.heartbeat import Heartbeat, Progress
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.jobfile import JobFile, log_line
from bulkhaul.joblist.ledger import End, Record, compact, is_newest, new_record, publish
from bulkhaul.joblist.locks import Lock
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.rewriting import claim_lost, write_as_owner

_log = logging.getLogger(__name__)


class Claim:
    """A job that this worker owns until it ends or releases it, or a newer generation takes it.

    `name`, `generation`, `source`, `target` (None in an old file of three lines) and `headers` do not change;
    `facts` is what the release before it left.
    """

    def __init__(
        self,
        paths: JoblistPaths,
        record: Record,
        file: JobFile,
        *,
        lock: Lock,
        heartbeat: Heartbeat,
        on_end: Callable[[], None],
    ) -> None:
        self.name = record.job
        self.generation = record.generation
        self.source = Path(file.source)
        self.target = file.target
        self.headers: Mapping[str, str] = file.headers
        self.facts: Mapping[str, object] = record.facts
        self._paths = paths
        self._record = record
        self._lock = lock
        self._heartbeat = heartbeat
        self._on_end = on_end
        self._lost = threading.Event()
        heartbeat.carry(Progress(self.name, self.generation), self._look)

    def check(self) -> None:
        """Return while this claim is good: memory only while the last beat is younger than 2/3 of the lease.

        Safe from many threads.

        Raises:
            ClaimLost: a newer generation exists, or the ledger is gone; touch nothing more of this job.
            StorageError: the heartbeat has failed for 2/3 of the lease and failed again now.
        """
        if not self._lost.is_set() and not self._heartbeat.fresh():
            self._heartbeat.renew(only_if_stale=True)
        if self._lost.is_set():
            raise claim_lost(self._record)

    def progress(self, *, files: int, bytes: int, last: str) -> None:
        """Note what this claim has newly sent (not skipped) and the file at hand; it goes out with the next beat."""
        self._heartbeat.note(Progress(self.name, self.generation, files, bytes, last))

    def log(self, text: str) -> None:
        """Append one line with the time to the job file (last 200 kept) and to the worker's full log.

        Raises:
            ClaimLost: a newer generation exists; line 1 is left to it.
            StorageError: the job file could not be written and is as before.
        """
        self._log_fully(text)
        try:
            write_as_owner(self._paths, self._lock, self._record, text=text)
        except ClaimLost:
            self._lost.set()
            raise

    def end(self, status: Status, text: str, *, facts: Mapping[str, object]) -> None:
        """End the claim with `Status.ERROR` or `Status.SUCCESS`; `facts` (JSON values) go into the ledger.

        Raises:
            ClaimLost: a newer generation exists; nothing was written.
            StorageError: the claim may not be ended; the next worker takes it over.
        """
        self._end(End(status), text, facts)

    def release(self, text: str, *, facts: Mapping[str, object] | None = None) -> None:
        """Give the job back: line 1 becomes `todo`; the next claim finds `facts`. Errors as for `end`."""
        self._end(End.RELEASED, text, facts or {})

    def _end(self, end: End, text: str, facts: Mapping[str, object]) -> None:
        if self._lost.is_set():
            raise claim_lost(self._record)
        record = new_record(self.name, self.generation + 1, self._record.owner, end=end, text=text, facts=dict(facts))
        won = publish(self._paths.ledger, record)
        # From here on the claim is over, whatever becomes of line 1.
        self._lost.set()
        self._heartbeat.carry(None, None)
        self._on_end()
        if not won:
            raise claim_lost(self._record)
        self._log_fully(f"{end}: {text}")
        self._show(record, end)

    def _show(self, record: Record, end: End) -> None:
        line = f"{end}: {record.text} generation={record.generation}"
        try:
            write_as_owner(self._paths, self._lock, record, text=line)
            if end is End.SUCCESS:
                compact(self._paths.ledger, self.name, record.generation)
        except (ClaimLost, StorageError) as error:
            # The ledger holds the end; the next scan brings line 1 to it.
            _log.warning("line 1 of %s lags: %s", self.name, error)

    def _look(self) -> None:
        if not is_newest(self._paths.ledger, self._record):
            self._lost.set()

    def _log_fully(self, text: str) -> None:
        path = self._paths.log(self._record.owner.worker)
        line = log_line(f"{self.name} generation={self.generation} {text}")
        try:
            with (
                storage_errors(path),
                open(path, "a", encoding="utf-8", errors="surrogateescape", opener=open_shared) as file,
            ):
                file.write(line + "\n")
        except StorageError as error:
            _log.warning("full log: %s", error)
