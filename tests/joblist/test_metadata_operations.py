"""What a job costs the metadata server, counted: a claim with its end, and a summary by the index."""

from __future__ import annotations

from pathlib import Path

from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.session import Session
from joblist.standing_inputs import go_on, make_job
from os_calls import Calls, counted_calls

MOST = 24  # metadata operations for claim and end of one job: the project's own limit
CHANGING = ("create", "link", "replace", "unlink", "fsync")


def claim_and_end(folder: Path) -> Calls:
    """The calls for a job that is claimed and succeeds, by a worker that has settled down."""
    joblist = Joblist(folder)
    for name in "abc":
        make_job(joblist, name)
    with joblist.session(this_owner()) as session:
        for _ in range(2):
            with counted_calls(folder) as calls:
                finish_one(session)
    return calls


def finish_one(session: Session) -> None:
    claim = session.claim_next(go_on)
    assert claim is not None
    claim.end(Status.SUCCESS, "all", facts={})


def test_claim_and_end_of_a_job_cost_twenty_two_metadata_operations(tmp_path: Path) -> None:
    counts = claim_and_end(tmp_path).counts()
    changing = {name: counts[name] for name in CHANGING}
    # Two records (create, link, unlink), two rewrites of the job file (create, rename), the full log; three times the
    # lock. Each of the four writes is made durable: the file, then its folder.
    assert changing == {"create": 2 + 2 + 1 + 3, "link": 2, "replace": 2, "unlink": 2, "fsync": 2 * 4}
    assert sum(changing.values()) <= MOST


def test_no_name_comes_to_be_before_its_content_and_no_write_ends_before_its_name_is_durable(tmp_path: Path) -> None:
    calls = [(name, path) for name, path in claim_and_end(tmp_path).others if name in CHANGING]
    made = [place for place, (name, _) in enumerate(calls) if name in ("link", "replace")]
    assert len(made) == 4
    for place in made:
        folder = str(Path(calls[place][1]).parent)
        name, private = calls[place - 1]
        assert (name, private.startswith(f"{folder}/.")) == ("fsync", True)
        assert ("fsync", folder) in calls[place + 1 : place + 3]


def test_a_summary_by_the_index_opens_only_the_jobs_that_changed(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    for number in range(50):
        make_job(joblist, f"{number:02}")
    with joblist.session(this_owner()) as session:
        for _ in range(20):
            finish_one(session)
    joblist.scan()
    make_job(joblist, "new")
    with counted_calls(tmp_path) as calls:
        counts, views = joblist.changed(repair=True)
        assert [view.name for view in views] == ["new"]
    assert counts == {Status.TODO: 30, Status.SUCCESS: 20}
    # The index, the new job, and its record, which is not there.
    assert calls.opened() == [".bulkhaul/index", ".bulkhaul/ledger/new.000001", "new.txt"]
    assert calls.counts()["scandir"] == 1
