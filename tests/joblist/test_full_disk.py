"""A joblist on a file system that fills up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkhaul.errors import StorageError
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import SHORT, go_on, line_1, make_job
from servers.disk import fill_blocks, make_room, small_file_system


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path / "disk", options="size=512k") as disk:
        yield disk


def test_a_full_disk_leaves_every_old_file_whole_and_costs_no_lease(small_disk: Path) -> None:
    joblist = Joblist(small_disk, **SHORT)
    path = make_job(joblist, "a")
    make_job(joblist, "b")
    with joblist.session(this_owner(), offset=0.0) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        path = joblist.path(claim.name)
        before = path.read_bytes()
        fill_blocks(small_disk)

        for call in (lambda: claim.log("x"), lambda: claim.end(Status.SUCCESS, "x", facts={})):
            with pytest.raises(StorageError, match="No space left on device") as caught:
                call()
            assert caught.value.exit_code == 74
        with pytest.raises(StorageError):
            joblist.add("c", source=Path("/data/c"), target="s3://bucket/c")

        assert path.read_bytes() == before
        assert joblist.names() == ["a", "b"]
        assert list(small_disk.rglob("*.tmp")) == []
        session._heartbeat.renew()  # beats overwrite one block in place
        claim.check()

        make_room(small_disk)
        claim.end(Status.SUCCESS, "all", facts={})
        assert line_1(joblist, claim.name) == "success"


def test_a_claim_on_a_full_disk_takes_nothing(small_disk: Path) -> None:
    joblist = Joblist(small_disk, **SHORT)
    make_job(joblist)
    with joblist.session(this_owner()) as session:
        fill_blocks(small_disk)
        with pytest.raises(StorageError):
            session.claim_next(go_on)
        assert line_1(joblist) == "todo"
        make_room(small_disk)
        assert session.claim_next(go_on) is not None


def test_a_summary_of_a_full_disk_still_counts(small_disk: Path) -> None:
    joblist = Joblist(small_disk, **SHORT)
    make_job(joblist)
    with joblist.session(this_owner()):
        pass
    fill_blocks(small_disk)
    assert [view.status for view in joblist.scan()] == [Status.TODO]
