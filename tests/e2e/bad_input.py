"""What each refusal of bad input has to be: one line, the right code, an unchanged joblist, no secret anywhere."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from e2e.lab import Lab

EXTRACT, CHECK, TRANSFER, VERIFY, SUMMARISE = (
    "01_extract_joblist.py",
    "02_check_joblist.py",
    "04_transfer_plates.py",
    "05_verify_transfer.py",
    "summarise_jobs.py",
)
_MARK = "\u274c "
_RESULTS = ("Check found", "Error jobs:")  # lines with that mark which count, and name no fault
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def complaints(said: str) -> list[str]:
    """The lines that name a fault; nowhere is there a traceback."""
    assert "Traceback" not in said, said
    assert not re.search(r"^\w*(Error|Exception)\b", said, re.MULTILINE), said
    lines = [line.removeprefix(_MARK) for line in said.splitlines() if line.startswith(_MARK)]
    return [line for line in lines if not line.startswith(_RESULTS)]


def the_complaint(said: str) -> str:
    """The one line that names the fault, with the thing, the reason and the next step."""
    lines = complaints(said)
    assert len(lines) == 1, said
    assert re.fullmatch(r".+?: .+; .+", lines[0]), lines[0]
    return lines[0]


def refused_in_json(lab: Lab, *command: object, expect: int, **env: str) -> str:
    """The one line with which the command ends; what it printed beside that is the same as a JSON document."""
    process = lab.start(str(command[0]), *command[1:], "--json", **env)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == expect, said
    line, document = the_complaint(said), json.loads(printed)
    error = document["error"]
    assert line == f"{error['thing']}: {error['reason']}; {error['next_step']}"
    assert document["exit_code"] == expect
    return line


def all_refused(runs: Iterable[tuple[Lab, Sequence[str]]], *, expect: int, env: Mapping[str, str]) -> list[str]:
    """The lines with which steps (a script and its arguments), run at once, refuse their work on their lab's joblist.

    It is left as it was, and no secret is told.
    """
    runs = [(lab, list(command)) for lab, command in runs]
    before = [state(lab.joblist) for lab, _ in runs]
    started = [lab.start(command[0], "-i", lab.joblist, *command[1:], **env) for lab, command in runs]
    said = [process.communicate(timeout=100)[0] for process in started]
    ends = list(zip(runs, [process.returncode for process in started], said, strict=True))
    assert [(command, code, text) for (_, command), code, text in ends if code != expect] == []
    assert [state(lab.joblist) for lab, _ in runs] == before
    for lab, _ in runs:
        assert_no_secret(lab, "\n".join(said), env)
    return [the_complaint(text) for text in said]


def state(joblist: Path) -> dict[str, bytes]:
    """What no refusal may change: each file of the joblist itself and each record of its ledger."""
    ledger = joblist / ".bulkhaul" / "ledger"
    paths = [*joblist.iterdir(), *(ledger.iterdir() if ledger.is_dir() else [])]
    return {str(path): path.read_bytes() for path in sorted(paths) if path.is_file()}


def records(joblist: Path) -> list[str]:
    """The names of the ledger's records."""
    return sorted(path.name for path in joblist.glob(".bulkhaul/ledger/*"))


def assert_whole(joblist: Path) -> None:
    """Each job file is whole and no writer has left anything behind."""
    assert [str(path) for path in joblist.rglob("*.tmp")] == []
    assert [path.name for path in joblist.glob("[!.]*.txt") if b"\n---\n" not in path.read_bytes()] == []


def assert_no_secret(lab: Lab, said: str, env: Mapping[str, str] | None = None, *, also: Iterable[str] = ()) -> None:
    """Neither what was said nor any file of the joblist holds a secret key or session token."""
    secrets = {given[name] for given in (lab.env, env or {}) for name in _SECRETS if given.get(name)} | set(also)
    assert secrets, "no secret to look for: this would prove nothing"
    assert [secret for secret in secrets if secret in said] == []
    for path in lab.joblist.rglob("*"):
        if path.is_file():
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            assert [secret for secret in secrets if secret.encode() in data] == [], path
