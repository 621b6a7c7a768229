"""What persons and other workers do to a job while it is owned."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter

import pytest

from bulkhaul.errors import ClaimLost
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import new_record, newest_record, publish
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import (
    far_owner,
    go_on,
    line_1,
    make_job,
    nobody_gone,
)


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
    with joblist.session(this_owner(), owner_gone=nobody_gone) as session:
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
