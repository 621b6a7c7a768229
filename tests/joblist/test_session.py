"""A worker claims jobs, ends them and gives them back; the files agree at each step."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkhaul.errors import UsageError
from bulkhaul.joblist.job import SlurmTask, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import (
    go_on,
    line_1,
    make_job,
)


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
