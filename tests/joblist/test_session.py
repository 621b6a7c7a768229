from __future__ import annotations

import itertools
import os
import shutil
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from bulkhaul.errors import ClaimLost, Stopped, UsageError
from bulkhaul.joblist.index import read_index
from bulkhaul.joblist.job import Owner, SlurmTask, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import End, new_record, newest_record, publish
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.locks import Lock, file_lock
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import (
    SHORT,
    beating,
    dead_owner,
    far_owner,
    go_on,
    line_1,
    make_job,
    no_lock,
    useless_lock,
    write_ledger,
)


def _nobody_gone(_owner: Owner) -> bool:
    return False


@pytest.fixture(params=[file_lock, no_lock, useless_lock], ids=["locks", "no locks", "locks that do not exclude"])
def lock(request: pytest.FixtureRequest) -> Lock:
    chosen: Lock = request.param
    return chosen


@pytest.fixture
def joblist(tmp_path: Path, lock: Lock) -> Joblist:
    return Joblist(tmp_path, **SHORT, lock=lock)


def test_each_job_is_claimed_once_and_ended(joblist: Joblist) -> None:
    for name in "abc":
        make_job(joblist, name)
    owner = this_owner(SlurmTask("cluster", "98", "97", 3))
    claimed = []
    with joblist.session(owner) as session:
        while claim := session.claim_next(go_on):
            claimed.append((claim.name, claim.generation, str(claim.source), claim.target))
            assert line_1(joblist, claim.name) == "ongoing"
            claim.check()
            claim.log("12000/48211 files")
            claim.end(Status.SUCCESS, "48211 files", facts={"files": 48211})
        assert session.jobs_in_doubt() == []
    assert sorted(claimed) == [(name, 1, f"/data/{name}", f"s3://bucket/{name}") for name in "abc"]
    log = [line.split("] ", 1)[1] for line in joblist.read("a").log]
    assert log == [
        f"claimed by {owner.host} slurm_job_id=98 array_task=3 worker={owner.worker} generation=1",
        "12000/48211 files",
        "success: 48211 files generation=2",
    ]
    record = joblist.read("a").record
    assert record is not None
    assert record.facts == {"files": 48211}
    assert len(joblist.state_path("log", f"{owner.worker}.log").read_text().splitlines()) == 6
    assert list(joblist.state_path("heartbeat").iterdir()) == []


def test_a_released_job_is_claimed_again_with_the_next_numbers(joblist: Joblist) -> None:
    make_job(joblist)
    with joblist.session(this_owner()) as session:
        for generation in (1, 3, 5):
            claim = session.claim_next(go_on)
            assert claim is not None
            assert claim.generation == generation
            claim.release("time limit")
            assert line_1(joblist) == "todo"


def test_after_success_two_records_remain(joblist: Joblist) -> None:
    make_job(joblist)
    with joblist.session(this_owner()) as session:
        for _ in range(3):
            claim = session.claim_next(go_on)
            assert claim is not None
            claim.release("time limit")
        claim = session.claim_next(go_on)
        assert claim is not None
        claim.end(Status.SUCCESS, "all", facts={})
    assert len({path.stat().st_ino for path in joblist.state_path("ledger").iterdir()}) == 2
    view = joblist.read("a")
    assert (view.standing, view.record and view.record.generation) == ("ended", 8)


@pytest.mark.parametrize(("offset", "first", "last"), [(0.0, 0, 15), (0.5, 50, 65), (0.98, 98, 99)])
def test_a_worker_begins_at_its_offset_and_near_there_at_random(
    tmp_path: Path, offset: float, first: int, last: int
) -> None:
    joblist = Joblist(tmp_path)
    for number in range(100):
        make_job(joblist, f"{number:02}")
    with joblist.session(this_owner(), offset=offset) as session:
        claim = session.claim_next(go_on)
    assert claim is not None
    assert first <= int(claim.name) <= last


def test_an_offset_outside_the_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Joblist(tmp_path).session(this_owner(), offset=1.0)


def test_a_silent_owner_loses_its_job_after_a_whole_lease(joblist: Joblist) -> None:
    make_job(joblist, word="ongoing")
    write_ledger(joblist, "alive")
    began = time.monotonic()
    with joblist.session(this_owner(), owner_gone=_nobody_gone) as session:
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


def test_an_owner_seen_alive_is_not_waited_for(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, lease_ttl=30, heartbeat=0.2)
    make_job(joblist, word="ongoing")
    owner = write_ledger(joblist, "alive")
    began = time.monotonic()
    with beating(joblist, owner), joblist.session(this_owner(), owner_gone=_nobody_gone) as session:
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

    with joblist.session(this_owner(), owner_gone=_nobody_gone) as session, pytest.raises(Stopped):
        session.claim_next(gate)
    assert time.monotonic() - end < 5


def test_a_stalled_observer_takes_nothing_and_reports_the_doubt(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, **SHORT)
    make_job(joblist, word="ongoing")
    write_ledger(joblist, "alive")
    with joblist.session(this_owner(), owner_gone=_nobody_gone) as session:
        assert session.claim_next(lambda: time.sleep(0.25)) is None
        assert session.jobs_in_doubt() == ["a"]
    assert line_1(joblist) == "ongoing"


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


def test_what_is_typed_while_a_job_is_owned_is_noted_and_restored(joblist: Joblist) -> None:
    path = make_job(joblist)
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        for typed in ("todo", "error", "success"):
            path.write_bytes(path.read_bytes().replace(b"ongoing", typed.encode(), 1))
            assert joblist.read("a").standing == "owned"
            claim.log("still here")
            assert line_1(joblist) == "ongoing"
            assert f"line 1 was set to `{typed}` while the job was owned" in joblist.read("a").log[-2]
        claim.end(Status.SUCCESS, "all", facts={})
    assert line_1(joblist) == "success"


@pytest.mark.parametrize("typed", [b"paused\n/data/a\n---\n", b"", b"ongo", b"\0\0"])
def test_what_is_no_job_file_is_left_to_the_person_and_repaired_later(joblist: Joblist, typed: bytes) -> None:
    path = make_job(joblist)
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        path.write_bytes(typed)
        claim.log("still here")
        claim.end(Status.SUCCESS, "all", facts={})
    assert path.read_bytes() == typed
    path.write_bytes(b"ongoing\n/data/a\n---\n")
    joblist.scan()
    assert line_1(joblist) == "success"


def test_a_job_file_that_a_person_removed_stays_removed(joblist: Joblist) -> None:
    path = make_job(joblist)
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        path.unlink()
        claim.log("still here")
        claim.end(Status.SUCCESS, "all", facts={})
    assert not path.exists()


def test_a_superseded_owner_is_told_and_touches_nothing(joblist: Joblist) -> None:
    path = make_job(joblist)
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        assert publish(joblist.state_path("ledger"), new_record("a", 2, far_owner()))
        before = path.read_bytes()
        calls = [
            lambda: claim.log("x"),
            lambda: claim.end(Status.SUCCESS, "x", facts={}),
            lambda: claim.release("x"),
            claim.check,
        ]
        for call in calls:
            with pytest.raises(ClaimLost):
                call()
        assert path.read_bytes() == before
    newest = newest_record(joblist.state_path("ledger"), "a")
    assert newest is not None
    assert newest.generation == 2


def test_the_beats_tell_of_a_lost_claim_without_any_other_call(joblist: Joblist) -> None:
    make_job(joblist)
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        assert publish(joblist.state_path("ledger"), new_record("a", 2, far_owner()))
        end = time.monotonic() + 5
        with pytest.raises(ClaimLost):
            while time.monotonic() < end:
                claim.check()
                time.sleep(0.01)


def test_a_removed_ledger_ends_the_claim(joblist: Joblist) -> None:
    make_job(joblist)
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        shutil.rmtree(joblist.state_path("ledger"))
        joblist.state_path("ledger").mkdir()
        with pytest.raises(ClaimLost):
            claim.log("x")
    assert joblist.read("a").standing == "unproven"


def test_a_claim_left_open_leaves_its_heartbeat_for_the_successor(joblist: Joblist) -> None:
    make_job(joblist)
    owner = this_owner()
    with joblist.session(owner) as session:
        assert session.claim_next(go_on) is not None
    assert [path.name for path in joblist.state_path("heartbeat").iterdir()] == [owner.worker]
    with joblist.session(this_owner(), owner_gone=_nobody_gone) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        claim.release("for a test")
    assert list(joblist.state_path("heartbeat").iterdir()) == []


def test_two_workers_at_once_never_have_the_same_job(joblist: Joblist) -> None:
    for number in range(40):
        make_job(joblist, f"{number:02}")
    claimed: list[str] = []

    def work() -> None:
        with joblist.session(this_owner()) as session:
            while claim := session.claim_next(go_on):
                claimed.append(claim.name)
                claim.end(Status.SUCCESS, "all", facts={})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(claimed) == Counter(joblist.names())


_opens: list[str] = []
_listening = [False]


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _listening[0] and event == "open" and isinstance(arguments[0], str | os.PathLike):
        _opens.append(os.fspath(arguments[0]))


sys.addaudithook(_hear)


def _opened_in(folder: Path, call: object) -> list[str]:
    assert callable(call)
    _opens.clear()
    _listening[0] = True
    try:
        call()
    finally:
        _listening[0] = False
    return [path for path in _opens if path.startswith(str(folder))]


def test_a_claim_costs_few_files_however_long_the_list(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    for number in range(300):
        make_job(joblist, f"{number:03}")
    with joblist.session(this_owner()) as session:
        first = session.claim_next(go_on)
        assert first is not None
        opened = _opened_in(tmp_path, lambda: session.claim_next(go_on))
    assert len(opened) <= 15, opened
    assert len({path for path in opened if path.endswith(".txt")}) == 1


def test_an_idle_worker_that_waits_reads_one_heartbeat_a_look(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, lease_ttl=1.6, heartbeat=0.4)
    for number in range(200):
        make_job(joblist, f"{number:03}", word="success")
        write_ledger(joblist, "success", f"{number:03}")
    make_job(joblist, "silent", word="ongoing")
    write_ledger(joblist, "alive", "silent")
    with joblist.session(this_owner(), owner_gone=_nobody_gone) as session:
        opened = _opened_in(tmp_path, lambda: session.claim_next(go_on))
    scans = sum(path.endswith("/000.txt") for path in opened)
    beats = sum("/heartbeat/" in path for path in opened)
    assert scans <= 2
    # Eight looks and as many beats of our own a lease.
    assert beats <= 40
    assert len(opened) <= 2 * 2 * 201 + 2 * beats + 60


def test_many_idle_workers_share_their_last_scans(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, lease_ttl=30, heartbeat=5)
    for number in range(300):
        make_job(joblist, f"{number:03}", word="success")
        write_ledger(joblist, "success", f"{number:03}")
    joblist.scan()
    before = read_index(JoblistPaths(tmp_path))
    barrier = threading.Barrier(8)

    def work() -> None:
        with joblist.session(this_owner()) as session:
            barrier.wait()
            assert session.claim_next(go_on) is None

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = read_index(JoblistPaths(tmp_path))
    assert before is not None
    assert after is not None
    assert after.serial - before.serial < 8


def test_five_inodes_a_job_at_rest(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, **SHORT)

    def inodes() -> int:
        return len({path.stat().st_ino for path in tmp_path.rglob("*")})

    def run(names: list[str], rounds: int) -> None:
        for name in names:
            make_job(joblist, name)
        owner = this_owner()
        with joblist.session(owner) as session:
            for number in itertools.count():
                claim = session.claim_next(go_on)
                if claim is None:
                    return
                if number < rounds:
                    claim.release("time limit")
                    continue
                joblist.work_path(claim.name, claim.generation).touch()
                joblist.manifest_path(claim.name).touch()
                joblist.discard_work(claim.name, generation=claim.generation)
                claim.end(Status.SUCCESS, "all", facts={})

    run(["first"], 1)
    before = inodes()
    run([f"{number:02}" for number in range(10)], 25)
    assert inodes() - before == 10 * 5 + 1, "five a job, and one full log a worker"


def test_an_end_is_repaired_by_the_next_scan_when_its_writer_was_killed(joblist: Joblist) -> None:
    make_job(joblist, word="ongoing")
    owner = write_ledger(joblist, "alive")
    assert publish(joblist.state_path("ledger"), new_record("a", 2, owner, end=End.RELEASED))
    joblist.scan()
    assert line_1(joblist) == "todo"
