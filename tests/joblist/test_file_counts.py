"""How many files a claim opens, a waiting worker reads and a job leaves, counted."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

from bulkhaul.joblist.index import read_index
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import End, new_record, publish
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import (
    SHORT,
    go_on,
    line_1,
    make_job,
    nobody_gone,
    write_ledger,
)
from os_calls import counted_calls


def _opened_in(folder: Path, call: object) -> list[str]:
    assert callable(call)
    with counted_calls(folder) as calls:
        call()
    return [path for path, _ in calls.opens]


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
    with joblist.session(this_owner(), owner_gone=nobody_gone) as session:
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
