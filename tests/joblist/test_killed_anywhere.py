"""kill -9 at every line of the joblist's code in a worker's life: nothing is lost, nothing is torn."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import bulkhaul
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import newest_numbers, read_record
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import go_on, line_1, make_job

_PROJECT = str(Path(bulkhaul.__file__).parent)
# The modules that change files, or decide what to do next; between two lines of plain computation lies nothing new.
_MODULES = ("fsio", "ledger", "heartbeat", "claim", "claiming", "rewriting", "session")
_FILES = {f"{_PROJECT}/fsio.py", *(f"{_PROJECT}/joblist/{name}.py" for name in _MODULES)}
# A run tries a third of the lines, beginning at random at one of the first three.
_STRIDE = 3


def _live(folder: Path) -> None:
    """A worker's life: a release, then a success with compaction."""
    joblist = Joblist(folder, lease_ttl=60, heartbeat=20)
    with joblist.session(this_owner()) as session:
        for last in (False, True):
            claim = session.claim_next(go_on)
            assert claim is not None
            claim.log("12000/48211 files")
            if last:
                claim.end(Status.SUCCESS, "all", facts={"files": 1})
            else:
                claim.release("time limit")


def _killed_at(folder: Path, line: int) -> bool:
    """Run a worker's life in a child that kills itself at the given line; False when it lived to its end."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    seen = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in _FILES:
            return None
        if event == "line":
            seen += 1
            if seen >= line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    try:
        sys.settrace(trace)
        _live(folder)
        os._exit(0)
    finally:
        os._exit(1)


def _check_and_finish(folder: Path) -> None:
    joblist = Joblist(folder, lease_ttl=60, heartbeat=20)
    view = joblist.read("a")
    assert view.standing not in ("invalid", "unproven"), view
    ledger = joblist.state_path("ledger")
    newest = newest_numbers(ledger).get("a", 0)
    for generation in range(max(1, newest - 1), newest + 1):
        assert read_record(ledger, "a", generation) is not None
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        if claim is not None:
            claim.end(Status.SUCCESS, "all", facts={})
            assert session.claim_next(go_on) is None
    assert joblist.read("a").status is Status.SUCCESS
    assert line_1(joblist) == "success"
    assert joblist.path("a").read_text().splitlines()[1] == "/data/a"


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """Hundreds of lives, each with dozens of fsyncs: in memory where that can be had."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_a_worker_killed_at_any_line_loses_nothing(quick_disk: Path) -> None:
    line, killed = random.randint(1, _STRIDE), True
    while killed:
        folder = quick_disk / f"killed-at-line-{line}"
        folder.mkdir()
        make_job(Joblist(folder))
        killed = _killed_at(folder, line)
        _check_and_finish(folder)
        line += _STRIDE
    assert line > 500, "the life of a worker is longer than that"
