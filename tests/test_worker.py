"""What a worker makes of faults: each job's own, those of all jobs, and those that only look like either."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhaul.audit import verify_joblist
from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.s3 import connection
from bulkhaul.s3.client import S3Options
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.credentials import CredentialPool, Grant, Token
from bulkhaul.s3.location import S3Location
from bulkhaul.transfer.dataset import TransferOptions
from bulkhaul.worker import WorkerReport, transfer_joblist
from servers.stub.script import refuse
from servers.stub_s3 import StubS3

Connect = Callable[[S3Location], Connection]


@pytest.fixture
def connect(stub: StubS3) -> Connect:
    token = stub.tokens.issue(None)
    keys = Token(token.access_key, token.secret_key)
    pool = CredentialPool(lambda _location: Grant(keys, renewable=False))
    options = S3Options(endpoint_url=stub.url, region="us-east-1")
    return lambda location: connection.connect(location, options=options, credentials=pool)


def make_jobs(folder: Path, *names: str, bucket: str = "bucket") -> Joblist:
    joblist = Joblist(folder / "jobs", create=True)
    for name in names:
        (folder / name).mkdir()
        (folder / name / "data").write_text(name)
        joblist.add(name, source=folder / name, target=f"s3://{bucket}/lab/{name}")
    return joblist


def run_worker(joblist: Joblist, connect: Connect) -> WorkerReport:
    return transfer_joblist(
        joblist.folder,
        lease=LeaseTimes(ttl=3, heartbeat=0.5),
        connect=connect,
        target_of=str,
        options=TransferOptions(),
    )


def statuses(joblist: Joblist) -> dict[str, str]:
    return {name: joblist.path(name).read_text().split("\n")[0] for name in joblist.names()}


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


def test_the_tasks_of_a_verify_array_leave_no_job_out(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"plate{number}" for number in range(12)]
    joblist = make_jobs(tmp_path, *names)
    assert run_worker(joblist, connect).exit_code == 0
    verified: list[str] = []
    for task in range(3):
        place = {"ID": task, "COUNT": 3, "MIN": 0, "MAX": 2, "STEP": 1}
        for name, value in place.items():
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
        verified += verify_joblist(joblist.folder, connect=connect, target_of=str).verified
        if task == 0:  # a job that another task would count, finished in between by nobody
            joblist.set_todo(verified[0], "another look")
    assert sorted(verified) == sorted(names)
