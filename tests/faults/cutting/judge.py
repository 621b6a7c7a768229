"""The judge of a cut: reads job files and ledger by their written format alone, with no code of bulkhaul's.

Each rule is of docs/joblist-format.md; what breaks it is said in one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]

_STATUSES = ("todo", "ongoing", "error", "success")
_AFTER_END = {"success": "success", "error": "error", "released": "todo"}
_LOG_LINE = re.compile(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\] \S.*")


def line_1(joblist: Path, job: str) -> str:
    """The status that a person sees."""
    return (joblist / f"{job}.txt").read_text().partition("\n")[0]


def faults_at_rest(joblist: Path, jobs: Collection[str], *, whole: bool = True) -> Iterator[str]:
    """What is wrong with a joblist whose workers may all be dead: a job lost or damaged, a ledger that cannot be.

    `whole` is false while the joblist is still being made: then some of `jobs` may lack.
    """
    found = {path.stem for path in joblist.glob("[!.]*.txt")}
    if (whole and found != set(jobs)) or not found <= set(jobs):
        yield f"the jobs are {sorted(found)}"
    for job in sorted(found):
        yield from _damage(job, (joblist / f"{job}.txt").read_bytes())
    for job in sorted(jobs):
        yield from _broken_ledger(job, ledger_of(joblist, job))


def _damage(job: str, data: bytes) -> Iterator[str]:
    if not data.endswith(b"\n") or b"\0" in data:
        yield f"{job}.txt is empty, cut off or binary"
        return
    lines = data.decode().splitlines()
    if lines[0] not in _STATUSES:
        yield f"{job}.txt: line 1 is {lines[0]!r}"
    if len(lines) < 4 or not lines[1].endswith(f"/{job}") or not lines[2].startswith("target: s3://"):
        yield f"{job}.txt: source or target is gone"
    if lines[3:4] != ["---"]:
        yield f"{job}.txt: no `---`"
    yield from (f"{job}.txt: the log has {line!r}" for line in lines[4:] if not _LOG_LINE.fullmatch(line))


def ledger_of(joblist: Path, job: str) -> dict[int, Record]:
    """The records of a job by number; one that cannot be read is empty."""
    records = {}
    for path in (joblist / ".bulkhaul" / "ledger").glob(f"{job}.[0-9]*"):
        try:
            records[int(path.suffix[1:])] = json.loads(path.read_bytes())
        except ValueError:
            records[int(path.suffix[1:])] = {}
    return dict(sorted(records.items()))


def newest(joblist: Path, job: str) -> Record | None:
    """The last record, None where there is none."""
    records = ledger_of(joblist, job)
    return records[max(records)] if records else None


def _broken_ledger(job: str, records: Mapping[int, Record]) -> Iterator[str]:
    if not records:
        return
    if any(record.get("job") != job for record in records.values()):
        yield f"{job}: a record that is none of its own"
        return
    if 1 not in records:
        yield f"{job}: the first name is free"
        return
    # A compaction that was cut leaves what lies below the first name's own number; above it there is no gap.
    first = records[1]["generation"]
    row = [number for number in records if number >= first]
    if row != list(range(first, max(records) + 1)):
        yield f"{job}: the ledger has a gap: {list(records)}, the first tells {first}"
    if wrong := [number for number in records if number > 1 and records[number]["generation"] != number]:
        yield f"{job}: records under other numbers: {wrong}"
    yield from _broken_row(job, [records[number] for number in row if number > 1 or first == 1])


def _broken_row(job: str, row: list[Record]) -> Iterator[str]:
    if len({record["nonce"] for record in row}) < len(row):
        yield f"{job}: a record twice"
    if row[0]["kind"] == "end" and row[0]["generation"] == 1:
        yield f"{job}: ended before it was claimed"
    for before, after in pairwise(row):
        if after["kind"] == "end" and (before["kind"], before["owner"]) != ("claim", after["owner"]):
            yield f"{job}: {after['generation']} ends what is not its owner's claim"


def faults_after_scan(joblist: Path, jobs: Collection[str], *, set_back: bool = False) -> Iterator[str]:
    """First lines that a scan has not brought to their ledger; `set_back`: a person wanted `error` to be `todo`."""
    for job in sorted(jobs):
        record, shown = newest(joblist, job), line_1(joblist, job)
        if record is None:
            ought = {"todo"}
        elif record.get("end") is None:
            ought = {"todo", "ongoing"}
        else:
            ought = {_AFTER_END[record["end"]]} | ({"todo"} if set_back else set())
        if shown not in ought:
            yield f"{job}: line 1 is {shown!r} after a scan, the ledger wants {sorted(ought)}"


def faults_when_done(joblist: Path, jobs: Collection[str]) -> Iterator[str]:
    """What is not as it ought to be when all jobs have been worked on."""
    for job in sorted(jobs):
        record, shown = newest(joblist, job), line_1(joblist, job)
        if shown != "success" or record is None or record.get("end") != "success":
            yield f"{job}: not done: line 1 is {shown!r}, the newest record {record}"


def disbelieved(joblist: Path, said: str) -> Iterator[str]:
    """What a worker believed to have published (JSON lines in what it `said`), and has not."""
    for line in said.splitlines():
        if not line.startswith("{"):
            continue
        told = json.loads(line)
        records = ledger_of(joblist, told["job"]).values()
        if not any(all(record.get(name) == told[name] for name in told) for record in records):
            yield f"{told['job']}: a worker believes in {told}, which is not in the ledger"


def bad_ends(code: int, errors: str, *, reason: str) -> Iterator[str]:
    """What a person may not see of a failed call: a traceback, another exit code, an error that is not one line."""
    lines = [line for line in errors.splitlines() if line.startswith("❌ ")]
    if "Traceback" in errors:
        yield f"a traceback: {errors.splitlines()[-1]}"
    if code not in (0, 74):
        yield f"exit code {code}: {errors[-300:]}"
    if (code == 74) != bool(lines):
        yield f"exit code {code} with {len(lines)} error line(s)"
    yield from (f"not reason and next step: {line}" for line in lines if f": {reason}; " not in line)


def leftovers(joblist: Path) -> list[str]:
    """Temporary files of writers that did not come to their end."""
    return sorted(str(path.relative_to(joblist)) for path in joblist.rglob(".*.tmp"))


def first_of(faults: Iterable[str]) -> str:
    """All faults on one line, empty where there are none."""
    return "; ".join(faults)
