"""A worker that is stopped between its look at the ledger and its write of line 1, while another takes the job over."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from bulkhaul.errors import ClaimLost
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.session import Session
from gated_calls import gated_calls
from joblist.standing_inputs import go_on, line_1, make_job, no_lock


class Rescuer:
    """Takes the job of whoever is about to replace a job file, once, and does `deed` with it."""

    def __init__(self, joblist: Joblist, session: Session, deed: str) -> None:
        self._joblist = joblist
        self._session = session
        self._deed = deed
        self.came = False

    def __call__(self, call: str, path: str) -> None:
        if self.came or call != "replace" or not path.endswith("/a.txt"):
            return
        self.came = True
        if self._joblist.read("a").status in (Status.ERROR, Status.SUCCESS):
            self._joblist.set_todo("a", "a person wants it once more")
        claim = self._session.claim_next(go_on)
        assert claim is not None
        do(claim, self._deed)


def do(claim: Claim, deed: str) -> None:
    match deed:
        case "ongoing":
            pass
        case "log":
            claim.log("4/4 files")
        case "todo":
            claim.release("time limit")
        case _:
            claim.end(Status(deed), "all", facts={})


@pytest.mark.parametrize("shown", ["ongoing", "todo", "error", "success"])
@pytest.mark.parametrize("late", ["log", "todo", "error", "success"])
def test_line_1_shows_the_newest_record_after_a_write_that_came_late(tmp_path: Path, late: str, shown: str) -> None:
    joblist = Joblist(tmp_path, lock=no_lock)
    make_job(joblist)
    with (
        joblist.session(this_owner()) as first,
        joblist.session(this_owner(), owner_gone=lambda _owner: True) as second,
    ):
        claim = first.claim_next(go_on)
        assert claim is not None
        rescuer = Rescuer(joblist, second, shown)
        with gated_calls(tmp_path, rescuer), suppress(ClaimLost):
            do(claim, late)
        assert rescuer.came
        assert line_1(joblist) == shown
