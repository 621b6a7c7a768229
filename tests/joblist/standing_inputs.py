"""Ledgers and job files in each state, made with the project's own parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes, Progress
from bulkhaul.joblist.job import Owner
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import End, new_record, publish
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.locks import Held

SHORT = {"lease_ttl": 0.6, "heartbeat": 0.1}


def go_on() -> None:
    """A gate that is always open."""


@contextmanager
def no_lock(_path: Path, _timeout: float) -> Iterator[Held]:
    """A file system without locks."""
    yield Held.UNAVAILABLE


@contextmanager
def useless_lock(_path: Path, _timeout: float) -> Iterator[Held]:
    """Lustre with `localflock`, seen from two nodes: everybody gets the lock."""
    yield Held.YES


def dead_owner() -> Owner:
    """An owner on this machine whose process is gone."""
    return dataclasses.replace(this_owner(), pid=2**22 + 1, pid_start=1)


def far_owner() -> Owner:
    """An owner on another machine, of which nothing can be proven."""
    return dataclasses.replace(this_owner(), host="elsewhere", boot_id="another")


def make_job(joblist: Joblist, name: str = "a", *, word: str = "todo") -> Path:
    """A job with `word` on line 1."""
    joblist.add(name, source=Path("/data") / name, target=f"s3://bucket/{name}")
    path = joblist.path(name)
    path.write_bytes(path.read_bytes().replace(b"todo", word.encode(), 1))
    return path


def write_ledger(joblist: Joblist, state: str, name: str = "a") -> Owner:
    """Bring the ledger of `name` to one of the table's columns; the owner of its first claim."""
    folder = joblist.state_path("ledger")
    folder.mkdir(parents=True, exist_ok=True)
    joblist.state_path("lock").mkdir(exist_ok=True)
    owner = dead_owner() if state == "expired" else this_owner()
    if state == "empty":
        return owner
    assert publish(folder, new_record(name, 1, owner))
    if state in ("error", "success", "released"):
        assert publish(folder, new_record(name, 2, owner, end=End(state), text="for a test"))
    return owner


@contextmanager
def beating(joblist: Joblist, owner: Owner) -> Iterator[None]:
    """Beats of `owner`, which holds a job, for the block."""
    folder = joblist.state_path("heartbeat")
    folder.mkdir(parents=True, exist_ok=True)
    beats = Heartbeat(folder / owner.worker, LeaseTimes(SHORT["lease_ttl"], SHORT["heartbeat"]))
    beats.carry(Progress("a", 1), None)
    beats.start()
    try:
        yield
    finally:
        beats.stop(remove=False)


def line_1(joblist: Joblist, name: str = "a") -> str:
    """The first line as it stands in the file."""
    return joblist.path(name).read_text().splitlines()[0]


def nobody_gone(_owner: Owner) -> bool:
    """A judge of owners that proves no death."""
    return False
