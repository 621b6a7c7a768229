"""The doctor inside an array: one task wins a race by link(2), holds a lock, and all tell what they saw."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from bulkhaul.errors import StorageError
from bulkhaul.fsio import create_file, make_folder, replace_file, storage_errors
from bulkhaul.joblist.doctor.findings import Finding, Level, judged
from bulkhaul.joblist.locks import Held, file_lock
from bulkhaul.joblist.paths import JoblistPaths

_POLL = 0.2


def try_between_nodes(folder: Path, *, party: str, expected: int, wait: float) -> Iterator[Finding]:
    """Race and lock against the other `expected` - 1 tasks of `party`, for at most `wait` seconds."""
    place = JoblistPaths(folder).state / "doctor" / party
    until = time.monotonic() + wait
    token = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        make_folder(place)
        won = create_file(place / "winner", token.encode())
        reports = _as_winner(place, token, expected, until) if won else _as_other(place, token, expected, until)
    except StorageError as error:
        yield Finding("nodes", Level.FATAL, str(error))
        return
    yield from _judge(reports, expected)


def _as_winner(place: Path, token: str, expected: int, until: float) -> list[dict[str, object]]:
    with file_lock(place / "lock", 0) as held:
        _tell(place, token, won=True, held=held)
        # The lock is kept until all others have tried it.
        return _wait_for(place, expected, until)


def _as_other(place: Path, token: str, expected: int, until: float) -> list[dict[str, object]]:
    while not any(report["won"] for report in _reports(place)) and time.monotonic() < until:
        time.sleep(_POLL)
    with file_lock(place / "lock", 0) as held:
        pass
    _tell(place, token, won=False, held=held)
    return _wait_for(place, expected, until)


def _tell(place: Path, token: str, *, won: bool, held: Held) -> None:
    report = {"host": socket.gethostname(), "won": won, "lock": str(held)}
    replace_file(place / f"{token}.json", json.dumps(report).encode())


def _wait_for(place: Path, expected: int, until: float) -> list[dict[str, object]]:
    while len(reports := _reports(place)) < expected and time.monotonic() < until:
        time.sleep(_POLL)
    return reports


def _reports(place: Path) -> list[dict[str, object]]:
    with storage_errors(place):
        paths = sorted(path for path in place.iterdir() if path.name.endswith(".json") and path.name[0] != ".")
        return [json.loads(path.read_bytes()) for path in paths]


def _judge(reports: list[dict[str, object]], expected: int) -> Iterator[Finding]:
    hosts = sorted({str(report["host"]) for report in reports})
    yield judged(
        "nodes",
        len(reports) >= expected,
        fine=f"{len(reports)} tasks on {len(hosts)} nodes see each other: {', '.join(hosts)}",
        otherwise=f"only {len(reports)} of {expected} tasks were seen in time: {', '.join(hosts)}",
        level=Level.WARNING,
    )
    winners = sum(bool(report["won"]) for report in reports)
    yield judged(
        "link between nodes",
        winners <= 1,
        fine="one task won the race by link(2)",
        otherwise=f"{winners} tasks won one race by link(2); put the joblist on another file system",
    )
    others = [report["lock"] for report in reports if not report["won"]]
    if others:
        yield judged(
            "flock between nodes",
            all(lock == Held.BUSY for lock in others),
            fine="a lock held by one task keeps the others out",
            otherwise="a lock does not exclude between nodes; the ledger alone keeps claims apart",
            level=Level.WARNING,
        )
