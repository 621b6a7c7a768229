"""The audit of a joblist: each task of an array has its share, and a task that is requeued goes on where it was."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhaul.audit import AuditReport, verify_joblist
from bulkhaul.joblist.joblist import Joblist
from jobs_on_stub import Connect, connect_to, make_jobs, run_worker
from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.slow  # each of them moves a joblist first


@pytest.fixture
def connect(stub: StubS3) -> Connect:
    return connect_to(stub)


def moved_jobs(folder: Path, connect: Connect, *names: str) -> Joblist:
    """A joblist whose jobs are all in `success`."""
    joblist = make_jobs(folder, *names)
    assert run_worker(joblist, connect).exit_code == 0
    return joblist


def test_the_tasks_of_a_verify_array_leave_no_job_out(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"plate{number}" for number in range(12)]
    joblist = moved_jobs(tmp_path, connect, *names)
    verified: list[str] = []
    for task in range(3):
        place = {"ID": task, "COUNT": 3, "MIN": 0, "MAX": 2, "STEP": 1}
        for name, value in place.items():
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
        verified += verify_joblist(joblist.folder, connect=connect, target_of=str).verified
        if task == 0:  # a job that another task would count, finished in between by nobody
            joblist.set_todo(verified[0], "another look")
    assert sorted(verified) == sorted(names)


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes this process the task 7 of a cluster that does not answer, in the run after so many restarts."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "lab")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return lambda restarts: monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))


def audit_until(stub: StubS3, listed: str, joblist: Joblist, connect: Connect) -> AuditReport:
    """An audit to which SLURM's time signal comes while the job `listed` is compared."""

    def interrupt(request: Request, serve: Callable[[], Answer]) -> Answer:
        if request.query["prefix"] == f"lab/{listed}/":
            os.kill(os.getpid(), signal.SIGUSR1)
        return serve()

    stub.script.plan("ListObjectsV2", interrupt, times=99)
    report = verify_joblist(joblist.folder, connect=connect, target_of=str)
    stub.script.clear()
    assert report.stopped is not None
    assert report.exit_code == 75
    return report


def test_a_requeued_audit_goes_on_where_it_was(
    tmp_path: Path, stub: StubS3, connect: Connect, task: Callable[[int], None]
) -> None:
    joblist = moved_jobs(tmp_path, connect, "a", "b", "c", "d")
    del stub.store.buckets["bucket"]["lab/b/data"]
    task(0)
    first = audit_until(stub, "c", joblist, connect)
    assert (first.verified, first.failed, first.unchecked) == (["a", "c"], ["b"], ["d"])
    task(1)
    stub.log.clear()
    second = verify_joblist(joblist.folder, connect=connect, target_of=str)
    assert (second.verified, second.failed, second.exit_code) == (["d"], ["b"], 3)
    assert {entry.query["prefix"] for entry in stub.log.entries} == {"lab/b/", "lab/d/"}
    # It has come to its end, so nothing of it counts in another run.
    third = verify_joblist(joblist.folder, connect=connect, target_of=str)
    assert (third.verified, third.failed) == (["a", "c", "d"], ["b"])


def test_an_audit_that_was_not_requeued_looks_at_all_jobs_again(
    tmp_path: Path, stub: StubS3, connect: Connect, task: Callable[[int], None]
) -> None:
    joblist = moved_jobs(tmp_path, connect, "a", "b", "c")
    task(0)
    assert audit_until(stub, "b", joblist, connect).unchecked == ["c"]
    assert verify_joblist(joblist.folder, connect=connect, target_of=str).verified == ["a", "b", "c"]
    assert list(joblist.state_path("audited").iterdir()) == []
