"""Joblists that workers have been at, written without workers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from bulkhaul.joblist.job import Owner, SlurmTask, Status
from bulkhaul.joblist.jobfile import JobFile, log_line, render_jobfile
from bulkhaul.joblist.ledger import End, Record, new_record, record_path
from bulkhaul.joblist.liveness import this_owner

IN_WORK = 64
_PROGRESS = 5  # lines of it in a job's log
_FACTS = {
    "files_sent": 48_211,
    "bytes_sent": 71 * 10**9,
    "files_skipped": 0,
    "files_failed": 0,
    "extra": 0,
    "manifest_sha256": "0" * 64,
    "failures": [],
    "notes": [],
}


def write_worked_joblist(folder: Path, jobs: int) -> None:
    """Make `folder` with `jobs` jobs: the first 64 in work, six of ten of the others done, one in a hundred failed."""
    ledger = folder / ".bulkhaul" / "ledger"
    ledger.mkdir(parents=True)
    owner = replace(this_owner(SlurmTask("cluster", "98", "97", 3)), host="elsewhere", boot_id="another")
    for number in range(jobs):
        name = f"source_8__J{number // 1000:03}__A{number:07}"
        log: list[str] = []
        status = _status(number)
        if status is not Status.TODO:
            log = _write_records(ledger, name, owner, status)
        target = f"target: s3://cellpainting-gallery/cpg0016-jump/source_8/workspace/segmentation/{name}"
        text = JobFile(str(status), f"/lustre/lab/results/objects/{name}", (target,), tuple(log))
        (folder / f"{name}.txt").write_bytes(render_jobfile(text))


def _status(number: int) -> Status:
    if number < IN_WORK:
        return Status.ONGOING
    if number % 100 == 7:
        return Status.ERROR
    return Status.SUCCESS if number % 10 < 6 else Status.TODO


def _write_records(ledger: Path, name: str, owner: Owner, status: Status) -> list[str]:
    """The records of a job's first claim and of its end, if it has one; the lines that they left in its log."""
    claim = new_record(name, 1, owner, text=f"claimed by {owner} generation=1")
    _write(ledger, claim)
    lines = [claim.text, *(f"{part}000/48211 files, 18.4/71.0 GB, 301 MB/s" for part in range(_PROGRESS))]
    if status is not Status.ONGOING:
        end = new_record(name, 2, owner, end=End(status), text="verified: 48211 file(s) sent", facts=_FACTS)
        _write(ledger, end)
        lines.append(f"{status}: {end.text} generation=2")
    return [log_line(line) for line in lines]


def _write(ledger: Path, record: Record) -> None:
    record_path(ledger, record.job, record.generation).write_text(json.dumps(asdict(record)) + "\n")
