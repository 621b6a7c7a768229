"""The judge's own reading of job files and ledger, by docs/joblist-format.md alone."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from faults.campaign.datasets import Dataset

_STATUSES = ("todo", "ongoing", "error", "success")


def ledger_of(joblist: Path, job: str) -> dict[int, dict[str, Any]]:
    """The records of `job` by the number in their names."""
    found = {}
    for path in sorted((joblist / ".bulkhaul" / "ledger").glob(f"{job}.*")):
        found[int(path.name.rpartition(".")[2])] = json.loads(path.read_bytes())
    return found


def newest(joblist: Path, job: str) -> dict[str, Any] | None:
    """The newest record, None when there is none."""
    records = ledger_of(joblist, job)
    return records[max(records)] if records else None


def holds_a_job(joblist: Path, pid: int) -> bool:
    """Whether the newest record of some job is a claim of the process `pid` of this machine."""
    jobs = {path.name.rpartition(".")[0] for path in (joblist / ".bulkhaul" / "ledger").glob("[!.]*")}
    for job in jobs:
        with suppress(FileNotFoundError):  # a compaction may remove a record at any moment
            record = newest(joblist, job)
            if record is not None and record["kind"] == "claim" and record["owner"]["pid"] == pid:
                return True
    return False


def is_proven(joblist: Path, job: str) -> bool:
    """Whether the ledger calls the job a success."""
    record = newest(joblist, job)
    return record is not None and record["end"] == "success"


def status_of(joblist: Path, job: str) -> str:
    """Line 1 as a person reads it."""
    return (joblist / f"{job}.txt").read_text().split("\n", 1)[0].strip()


def faults_of_job_file(joblist: Path, dataset: Dataset, *, target: str) -> list[str]:
    """What is wrong with the job file itself."""
    path = joblist / f"{dataset.job}.txt"
    if not path.exists():
        return [f"{dataset.job}: the job is lost"]
    head, mark, _ = path.read_text().partition("\n---\n")
    lines = head.split("\n")
    faults = []
    if not mark or lines[1:] != [str(dataset.folder.resolve()), f"target: {target}"]:
        faults.append(f"{dataset.job}: the job file is damaged: {head[:300]!r}")
    elif lines[0].strip().lower() not in _STATUSES:
        faults.append(f"{dataset.job}: line 1 is {lines[0]!r}")
    return faults


def faults_of_ledger(joblist: Path, job: str) -> list[str]:
    """Gaps, and records that tell another number than their name, but for what a compaction leaves."""
    records = ledger_of(joblist, job)
    numbers = sorted(records)
    faults = []
    row = [number for number in numbers if number > 1]
    compacted = 1 in records and records[1]["generation"] > 1
    if numbers and (numbers[0] != 1 or row != list(range(row[0], row[-1] + 1)) if row else numbers != [1]):
        faults.append(f"{job}: the ledger has a gap: {numbers}")
    if row and row[0] > (records[1]["generation"] if compacted else 2):
        faults.append(f"{job}: the ledger has a gap after its first record: {numbers}")
    faults += [f"{job}: record {n} says {records[n]['generation']}" for n in row if records[n]["generation"] != n]
    return faults


@dataclass(slots=True)
class Watch:
    """Reads each record while workers run, before a compaction removes it; a context manager."""

    joblist: Path
    seen: dict[tuple[str, int], dict[str, dict[str, Any]]] = field(default_factory=dict)
    _known: set[tuple[str, int]] = field(default_factory=set)
    _broken: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._look()
        self._thread = threading.Thread(target=self._run, name="ledger-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        assert self._thread is not None
        self._thread.join(10)
        self._look()

    def faults(self) -> list[str]:
        """Two owners of one number, ends by another than the claim's owner, and records that nobody can read."""
        faults = list(self._broken)
        for (job, number), records in sorted(self.seen.items()):
            if len(records) > 1:
                faults.append(f"{job}: {len(records)} records had the number {number}")
            for record in records.values():
                before = self.seen.get((job, number - 1), {})
                owners = {claim["owner"]["worker"] for claim in before.values() if claim["kind"] == "claim"}
                if record["kind"] == "end" and owners and record["owner"]["worker"] not in owners:
                    faults.append(f"{job}: {record['owner']['worker']} ended the claim {number - 1} of {owners}")
        return faults

    def _run(self) -> None:
        try:
            while not self._end.wait(0.01):
                self._look()
        except Exception as error:  # noqa: BLE001 - a watch that has ended sees no second owner any more
            self._broken.append(f"the watch of the ledger ended: {type(error).__name__}: {error}")

    def _look(self) -> None:
        for path in (self.joblist / ".bulkhaul" / "ledger").glob("[!.]*"):
            # A compaction may remove it at any moment.
            with suppress(FileNotFoundError):
                key = (path.name, path.stat().st_ino)
                if key not in self._known:
                    record = json.loads(path.read_bytes())
                    self._known.add(key)
                    self.seen.setdefault((record["job"], record["generation"]), {})[record["nonce"]] = record
