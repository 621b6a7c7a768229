"""The books of one job: every entry of the tree by a walk of the tests' own, against what the manifest says of it."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.lab import Lab, job_name, plate_folder, plate_key
from e2e.oracle import local_digests, plain_client, read_manifest, remote_digests

BATCH, PLATE = "J1", "A0001"
JOB = job_name(PLATE, batch=BATCH)
PREFIX = plate_key(batch=BATCH, plate=PLATE)
SENT, SKIPPED, FAILED = "sent", "skipped", "failed"


def plate(lab: Lab) -> Path:
    """The one plate of these tests."""
    return plate_folder(lab.results, batch=BATCH, plate=PLATE)


def tree_entries(folder: Path) -> set[str]:
    """Each entry that has to be accounted for: all that is no folder, and each folder without entries as `name/`."""
    return set(_entries(os.fsencode(folder), b""))


def _entries(root: bytes, prefix: bytes) -> Iterator[str]:
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries]
    if not names:
        yield os.fsdecode(prefix)
    for name in names:
        path, full = root + b"/" + name, prefix + name
        if stat.S_ISDIR(os.lstat(path).st_mode):
            yield from _entries(path, full + b"/")
        else:
            yield os.fsdecode(full)


def manifest(lab: Lab) -> dict[str, dict[str, Any]]:
    """The final manifest of the job by name; a name that comes twice fails."""
    records = read_manifest((lab.joblist / f"{JOB}.manifest.jsonl.gz").read_bytes())
    assert max(Counter(record["name"] for record in records).values()) == 1
    return {record["name"]: record for record in records}


def job_text(lab: Lab) -> str:
    """The job file as a person reads it."""
    return (lab.joblist / f"{JOB}.txt").read_text(errors="surrogateescape")


def error_line(lab: Lab) -> str:
    """The one line of the job file's log that tells of the error."""
    lines = [line for line in job_text(lab).splitlines() if "] error: " in line]
    assert len(lines) == 1, lines
    return lines[0]


def retry(lab: Lab) -> None:
    """Set the job back as a person does."""
    lab.retry()
    assert lab.statuses() == {JOB: "todo"}


def transfer(lab: Lab, *arguments: object, expect: int = 0, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The worker's JSON report; it must end with `expect`, and the job's status must fit that."""
    output = lab.run("04_transfer_plates.py", "-i", lab.joblist, "--json", *arguments, expect=expect, **(env or {}))
    report: dict[str, Any] = json.loads(output)
    assert lab.statuses()[JOB] == {0: "success", 3: "error", 75: "todo"}[expect]
    return report


@dataclass(frozen=True, slots=True)
class Fate:
    """What must become of an entry: its outcome, and words of the reason."""

    outcome: str
    reason: str = ""


def assert_books(lab: Lab, exceptions: Mapping[str, Fate]) -> None:
    """Each entry of the tree is in the manifest once with its fate: `exceptions`, and all others have arrived.

    S3 holds exactly those, byte by byte, and no upload is parked.
    """
    folder = plate(lab)
    entries, records = tree_entries(folder), manifest(lab)
    assert set(records) == entries | set(exceptions)
    told = {name: Fate(record["outcome"], record.get("reason", "")) for name, record in records.items()}
    for name, fate in exceptions.items():
        assert told[name].outcome == fate.outcome, (name, told[name])
        assert fate.reason in told[name].reason, (name, told[name])
        assert told[name].reason, (name, told[name])
    arrived = entries - set(exceptions)
    assert {name: told[name].outcome for name in arrived if told[name].outcome == FAILED} == {}
    local = local_digests(folder, but=exceptions)
    assert set(local) == arrived, "an entry that is no file would have to be an exception"
    client = plain_client(lab.env)
    remote = remote_digests(client, lab.bucket, PREFIX)
    assert sorted(remote) == sorted(local)
    assert remote == local
    for name in arrived:
        assert records[name]["size"] == (folder / name).stat().st_size
        assert records[name]["etag"]
    if not any(fate.outcome == FAILED for fate in exceptions.values()):
        assert client.list_multipart_uploads(Bucket=lab.bucket).get("Uploads", []) == []
