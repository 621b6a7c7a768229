"""How many file system calls each step of a worker makes: counted on bulkhaul's own code in a real folder.

Counted are calls that reach a file system's metadata server: open, stat, link, rename, unlink, chmod, listing, flock
and fsync. Reads, writes, closes and stats of open files are not.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

from opens import heard_opens

from bulkhaul.joblist.finder import Finder
from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes
from bulkhaul.joblist.index import index_version
from bulkhaul.joblist.job import Owner, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import newest_record
from bulkhaul.joblist.liveness import Observer, this_owner
from bulkhaul.joblist.locks import file_lock
from bulkhaul.joblist.paths import JoblistPaths

_NO_BEATS = {"lease_ttl": 3600.0, "heartbeat": 1200.0}
_CHANGES = ("creating open", "link", "rename", "replace", "remove", "unlink", "fsync")
_OTHERS = ("stat", "lstat", "chmod", "scandir", "listdir")
_JOBS = 20


@dataclass(frozen=True, slots=True)
class Costs:
    """Calls of each step; `scan_todo` and `scan_done` are those of one job in a scan.

    `changes` are the calls of one claim and its end that change a folder or wait for a disk.
    """

    claim: int
    end: int
    release: int
    log: int
    missed: int
    take_over: int
    beat: int
    beat_and_look: int
    look: int
    reread: int
    read_index: int
    busy: int
    scan_todo: float
    scan_done: float
    changes: int


class Calls:
    """Counts the calls of one thread while `counting`."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._thread = 0

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Count what the block does, in this thread alone."""
        self.found = Counter()
        self._thread = threading.get_ident()
        told = {name: self._told(name, getattr(os, name)) for name in (*_CHANGES[1:], *_OTHERS)}
        flock = patch("fcntl.flock", self._told("flock", fcntl.flock))
        with patch.multiple(os, **told), flock, heard_opens(self._hear_open):
            yield self.found

    def of(self, call: Callable[[], object]) -> int:
        """How many calls `call` makes."""
        with self.counting() as found:
            call()
        return found.total()

    def _told(self, name: str, function: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **options: object) -> object:
            self._note(name)
            return function(*arguments, **options)

        return counted

    def _hear_open(self, _path: object, flags: int) -> None:
        self._note("creating open" if flags & os.O_CREAT else "open")

    def _note(self, name: str) -> None:
        if threading.get_ident() == self._thread:
            self.found[name] += 1


def measured() -> Costs:
    """Make each step once in a temporary folder and count."""
    with tempfile.TemporaryDirectory(prefix="bulkhaul-simulation-") as name:
        return _measured(Path(name), Calls())


def _measured(folder: Path, calls: Calls) -> Costs:
    joblist, paths = Joblist(folder, **_NO_BEATS), JoblistPaths(folder)
    for number in range(_JOBS):
        joblist.add(f"{number:03}", source=Path("/data"), target="s3://bucket/prefix")
    with joblist.session(this_owner(), owner_gone=_nobody) as session:
        finder = Finder(paths, lock=file_lock, dead=_nobody)
        scan_todo = calls.of(lambda: finder.refresh((0, 0), _go_on)) / _JOBS
        first = session.claim_next(_go_on)
        assert first is not None
        log = calls.of(lambda: first.log("a line"))
        release = calls.of(lambda: first.release("time limit"))
        with calls.counting() as found:
            claim = session.claim_next(_go_on)
        assert claim is not None
        claimed = Counter(found)
        look = calls.of(lambda: _look(paths, claim.name, claim.generation))
        with calls.counting() as ended:
            claim.end(Status.SUCCESS, "all", facts={})
        while (left := session.claim_next(_go_on)) is not None:
            left.end(Status.SUCCESS, "all", facts={})
        others = _of_others(joblist, paths, finder, calls)
    both = claimed + ended
    return Costs(
        claim=claimed.total() - others["reread"],
        end=ended.total(),
        release=release,
        log=log,
        look=look,
        changes=sum(both[kind] for kind in _CHANGES),
        scan_todo=scan_todo,
        scan_done=calls.of(lambda: finder.refresh(index_version(paths), _go_on)) / _JOBS,
        **others,
    )


def _of_others(joblist: Joblist, paths: JoblistPaths, finder: Finder, calls: Calls) -> dict[str, int]:
    joblist.add("owned", source=Path("/data"), target="s3://bucket/prefix")
    lost = replace(this_owner(), host="elsewhere", boot_id="another")
    with joblist.session(lost, owner_gone=_nobody) as session:
        claim = session.claim_next(_go_on)
        assert claim is not None
        beats = Heartbeat(paths.heartbeat(lost.worker), LeaseTimes())
        beat = calls.of(beats.renew)
        record = newest_record(paths.ledger, claim.name)
        assert record is not None
        known = index_version(paths)
        reread = calls.of(lambda: finder.reread(known))
        read_index = calls.of(lambda: finder.reread((0, 0)))
        with file_lock(paths.scan_lock, 0):
            busy = calls.of(lambda: finder.refresh(known, _go_on))
        with joblist.session(this_owner(), owner_gone=_nobody) as other:
            missed = calls.of(lambda: other._claimer.claim("owned"))
        with joblist.session(this_owner(), owner_gone=lambda owner: owner == lost) as heir:
            take_over = calls.of(lambda: heir._claimer.claim("owned"))
    return {
        "beat": beat,
        "beat_and_look": beat + calls.of(lambda: newest_record(paths.ledger, "owned", hint=1)),
        "reread": reread,
        "read_index": read_index,
        "busy": busy,
        "missed": missed,
        "take_over": take_over,
    }


def _look(paths: JoblistPaths, name: str, generation: int) -> None:
    record = newest_record(paths.ledger, name, hint=generation)
    assert record is not None
    Observer(paths, 180.0, _nobody).look(record.owner)


def _nobody(_owner: Owner) -> bool:
    return False


def _go_on() -> None:
    pass
