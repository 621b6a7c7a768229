"""What a worker makes of faults: each job's own, those of all jobs, and those that only look like either."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bulkhaul.errors import BulkhaulError, CredentialsError, StorageError, UsageError
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.location import S3Location
from jobs_on_stub import Connect, connect_to, make_jobs, run_worker, statuses
from servers.stub.script import refuse
from servers.stub_s3 import StubS3


@pytest.fixture
def connect(stub: StubS3) -> Connect:
    return connect_to(stub)


def test_a_job_that_is_denied_twice_becomes_an_error_and_does_not_go_round(
    tmp_path: Path, stub: StubS3, connect: Connect
) -> None:
    joblist = make_jobs(tmp_path, "a")
    stub.script.plan("PutObject", refuse(403, "AccessDenied"), times=99, key="lab/a/data")
    first = run_worker(joblist, connect)
    assert (first.exit_code, statuses(joblist)) == (77, {"a": "todo"})
    second = run_worker(joblist, connect)
    assert (second.exit_code, second.failed, statuses(joblist)) == (3, ["a"], {"a": "error"})


def test_a_denial_while_another_prefix_works_is_that_jobs_error(tmp_path: Path, stub: StubS3, connect: Connect) -> None:
    joblist = make_jobs(tmp_path, "a", "b")
    stub.script.plan("PutObject", refuse(403, "AccessDenied"), times=99, key="lab/b/data")
    report = run_worker(joblist, connect)
    assert (report.exit_code, statuses(joblist)) == (3, {"a": "success", "b": "error"})


@pytest.mark.parametrize("fault", [StorageError, UsageError, CredentialsError])
def test_a_fault_while_another_prefix_is_tried_gives_the_denied_job_back(
    tmp_path: Path, stub: StubS3, connect: Connect, fault: type[BulkhaulError]
) -> None:
    joblist = make_jobs(tmp_path, "a", "b")
    stub.script.plan("PutObject", refuse(403, "AccessDenied"), key="lab/b/data")

    def fail_after_the_denial(location: S3Location) -> Connection:
        if stub.script.met and location == S3Location("bucket", "lab/a"):
            raise fault("keys", "no way there any more", "see the test")
        return connect(location)

    report = run_worker(joblist, fail_after_the_denial)
    assert report.exit_code == 77, "the denial is what ended the worker"
    assert (report.failed, statuses(joblist)["b"], joblist.read("b").standing) == ([], "todo", "free")
    assert run_worker(joblist, connect).exit_code == 0
    assert statuses(joblist) == {"a": "success", "b": "success"}


def test_ctrl_c_while_another_prefix_is_tried_ends_as_ctrl_c(tmp_path: Path, stub: StubS3, connect: Connect) -> None:
    joblist = make_jobs(tmp_path, "a", "b")
    stub.script.plan("PutObject", refuse(403, "AccessDenied"), key="lab/b/data")

    def press_after_the_denial(location: S3Location) -> Connection:
        if stub.script.met and location == S3Location("bucket", "lab/a"):
            signal.raise_signal(signal.SIGINT)
        return connect(location)

    report = run_worker(joblist, press_after_the_denial)
    assert (report.exit_code, report.failed, statuses(joblist)["b"]) == (130, [], "todo")


def test_jobs_in_error_from_before_are_named_and_the_worker_does_not_end_as_if_all_were_done(
    tmp_path: Path, connect: Connect
) -> None:
    joblist = make_jobs(tmp_path, "a", "b")
    path = joblist.path("b")
    path.write_text(path.read_text().replace("todo", "error", 1))
    report = run_worker(joblist, connect)
    assert (report.succeeded, report.failed, report.in_error, report.exit_code) == (["a"], [], ["b"], 3)


def test_a_missing_bucket_among_others_is_the_error_of_its_own_jobs(tmp_path: Path, connect: Connect) -> None:
    joblist = make_jobs(tmp_path, "a", "b")
    make_jobs(tmp_path, "c", bucket="no-such-bucket")
    report = run_worker(joblist, connect)
    assert (report.exit_code, statuses(joblist)) == (3, {"a": "success", "b": "success", "c": "error"})


def test_a_fifo_named_like_a_job_is_invalid_and_blocks_nobody(tmp_path: Path, connect: Connect) -> None:
    joblist = make_jobs(tmp_path, "a")
    os.mkfifo(joblist.folder / "x.txt")
    (joblist.folder / "y.txt").symlink_to("y.txt")
    report = run_worker(joblist, connect)
    assert report.succeeded == ["a"]
    assert report.invalid == ["x", "y"]
    assert report.exit_code == 65
