"""The jobs of dead, silent and stalled owners: who may take them, when, and how often."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bulkhaul.errors import Stopped
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import new_record, publish
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import (
    SHORT,
    beating,
    dead_owner,
    go_on,
    line_1,
    make_job,
    nobody_gone,
    write_ledger,
)


def test_a_silent_owner_loses_its_job_after_a_whole_lease(joblist: Joblist) -> None:
    make_job(joblist, word="ongoing")
    write_ledger(joblist, "alive")
    began = time.monotonic()
    with joblist.session(this_owner(), owner_gone=nobody_gone) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        assert claim.generation == 2
        assert time.monotonic() - began >= SHORT["lease_ttl"]
        assert "taken over from" in joblist.read("a").log[-1]
        claim.end(Status.ERROR, "for a test", facts={})


def test_an_owner_whose_process_is_gone_loses_its_job_at_once(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    make_job(joblist, word="ongoing")
    write_ledger(joblist, "expired")
    began = time.monotonic()
    with joblist.session(this_owner()) as session:
        assert session.claim_next(go_on) is not None
    assert time.monotonic() - began < 5


def test_the_death_of_an_owner_on_this_machine_is_noticed_between_two_looks(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    make_job(joblist, word="ongoing")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
    write_ledger(joblist, "empty")
    owner = dataclasses.replace(this_owner(), pid=child.pid, pid_start=start)
    assert publish(joblist.state_path("ledger"), new_record("a", 1, owner))
    killing = threading.Timer(1.0, child.kill)
    killing.start()
    began = time.monotonic()
    try:
        with joblist.session(this_owner()) as session:
            assert session.claim_next(go_on) is not None
            assert 1 <= time.monotonic() - began < 6, "the looks of a lease of 180 s are 10 s apart"
    finally:
        killing.join()
        child.communicate()


def test_an_owner_seen_alive_is_not_waited_for(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, lease_ttl=30, heartbeat=0.2)
    make_job(joblist, word="ongoing")
    owner = write_ledger(joblist, "alive")
    began = time.monotonic()
    with beating(joblist, owner), joblist.session(this_owner(), owner_gone=nobody_gone) as session:
        assert session.claim_next(go_on) is None
        assert session.jobs_in_doubt() == []
    assert time.monotonic() - began < 10


def test_the_wait_can_be_stopped(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, lease_ttl=60, heartbeat=10)
    make_job(joblist, word="ongoing")
    write_ledger(joblist, "alive")
    end = time.monotonic() + 0.5

    def gate() -> None:
        if time.monotonic() > end:
            raise Stopped("worker", "time limit", "it is requeued")

    with joblist.session(this_owner(), owner_gone=nobody_gone) as session, pytest.raises(Stopped):
        session.claim_next(gate)
    assert time.monotonic() - end < 5


@pytest.mark.slow
def test_a_stalled_observer_takes_nothing_and_reports_the_doubt(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, **SHORT)
    make_job(joblist, word="ongoing")
    write_ledger(joblist, "alive")
    with joblist.session(this_owner(), owner_gone=nobody_gone) as session:
        assert session.claim_next(lambda: time.sleep(0.25)) is None
        assert session.jobs_in_doubt() == ["a"]
    assert line_1(joblist) == "ongoing"


def test_the_silence_of_one_unknown_owner_proves_nothing_about_the_next(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, **SHORT)
    for name in ("a", "b"):
        make_job(joblist, name, word="ongoing")
    ledger = joblist.state_path("ledger")
    ledger.mkdir(parents=True)
    (ledger / "a.000001").write_bytes(b"{half")
    with joblist.session(this_owner(), owner_gone=nobody_gone) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        claim.end(Status.SUCCESS, "", facts={})
        (ledger / "b.000001").write_bytes(b"{half")
        began = time.monotonic()
        claim = session.claim_next(go_on)
        assert claim is not None
        assert claim.name == "b"
        assert time.monotonic() - began >= SHORT["lease_ttl"]
        claim.end(Status.SUCCESS, "", facts={})


def _die(joblist: Joblist, *, files: int, last: str) -> None:
    """Claim, note progress, beat, and vanish like a killed process."""
    with joblist.session(dead_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        claim.progress(files=files, bytes=0, last=last)
        time.sleep(2.5 * SHORT["heartbeat"])


def test_a_job_that_kills_three_workers_becomes_an_error_that_names_the_file(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, **SHORT)
    make_job(joblist)
    for _ in range(3):
        _die(joblist, files=0, last="A1/0.0.0")
    with joblist.session(this_owner()) as session:
        assert session.claim_next(go_on) is None
    view = joblist.read("a")
    assert view.status is Status.ERROR
    assert "worker died 3 times at A1/0.0.0; " in view.log[-1]
    assert "bulkhaul retry" in view.log[-1]
    assert joblist.retry() == ["a"]
    with joblist.session(this_owner()) as session:
        assert session.claim_next(go_on) is not None, "a person's retry begins to count anew"


@pytest.mark.slow
def test_progress_sets_the_count_of_deaths_back(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, **SHORT)
    make_job(joblist)
    for files in (0, 0, 5, 0, 0, 7, 0, 0):
        _die(joblist, files=files, last="x")
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
    assert claim is not None
    assert claim.generation == 9


def test_a_release_sets_the_count_of_deaths_back(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, **SHORT)
    make_job(joblist)
    for _ in range(2):
        _die(joblist, files=0, last="x")
        _die(joblist, files=0, last="x")
        with joblist.session(this_owner()) as session:
            claim = session.claim_next(go_on)
            assert claim is not None
            claim.release("time limit")
    assert line_1(joblist) == "todo"
