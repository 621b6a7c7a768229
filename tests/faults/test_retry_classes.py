"""Each class of fault by a whole worker and either engine: what it may cost, and how it ends.

The table is in docs/operations.md. Here are the classes whose faults S3's answers bring; those of the joblist's disk
are in e2e/test_full_disks.py, names and buckets in e2e/test_odd_names.py and test_worker.py, a completion whose answer
is lost in s3/test_multipart_proof.py, hangs in s3/test_hangs.py, the pauses in s3/test_retry.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bulkhaul.s3.policy import RetryPolicy
from bulkhaul.transfer.dataset import TransferOptions
from bulkhaul.worker import WorkerReport
from jobs_on_stub import connect_to, make_jobs, run_worker, statuses
from servers.stub import script
from servers.stub.message import Answer, Request, error
from servers.stub.script import refuse
from servers.stub_s3 import StubS3

MIB = 1 << 20
IN_PARTS = {"multipart_threshold": 5 * MIB, "part_size": 6 * MIB}
TRIES, PASSES = 8, 3
QUICK = RetryPolicy(first_pause=0.001, longest_pause=0.01)


@dataclass
class Lab:
    """One job of one file, on its way to a stub that fails."""

    stub: StubS3
    folder: Path
    engine: str

    def fail(self, act: script.Act, *, times: int, operation: str = "PutObject") -> None:
        self.stub.script.plan(operation, act, times=times, key="lab/a/data")

    def work(
        self, *, policy: RetryPolicy = QUICK, renewable: bool = False, size: int = 10, **options: int
    ) -> WorkerReport:
        self.joblist = make_jobs(self.folder, "a")
        (self.folder / "a" / "data").write_bytes(bytes(size))
        connect = connect_to(self.stub, engine=self.engine, renewable=renewable)
        return run_worker(self.joblist, connect, TransferOptions(retry=policy, **options))

    def requests(self, operation: str = "PutObject") -> int:
        return sum(one.operation == operation and one.key == "lab/a/data" for one in self.stub.log.entries)

    def assert_arrived(self, report: WorkerReport, *, requests: int) -> None:
        assert (report.exit_code, statuses(self.joblist)) == (0, {"a": "success"})
        assert self.requests() == requests

    def assert_given_back(self, report: WorkerReport, *, exit_code: int, requests: int) -> None:
        """The worker ended, the job is free as before."""
        assert report.exit_code == exit_code
        assert (statuses(self.joblist), self.joblist.read("a").standing) == ({"a": "todo"}, "free")
        assert self.requests() == requests

    def assert_failed(self, report: WorkerReport, reason: str, *, requests: int) -> None:
        """The job is in error and says why."""
        assert (report.exit_code, statuses(self.joblist)) == (3, {"a": "error"})
        assert reason in self.joblist.path("a").read_text()
        assert self.requests() == requests


@pytest.fixture(params=["obstore", "s3transfer"])
def lab(request: pytest.FixtureRequest, stub: StubS3, tmp_path: Path) -> Lab:
    """Each engine in turn."""
    return Lab(stub, tmp_path, request.param)


THROTTLE = [refuse(503, "SlowDown"), refuse(429, "TooManyRequests"), refuse(400, "RequestLimitExceeded")]


@pytest.mark.parametrize("act", [*THROTTLE, refuse(503, "BandwidthLimitExceeded")])
def test_throttling_costs_no_tries(lab: Lab, act: script.Act) -> None:
    lab.fail(act, times=TRIES + 4)
    lab.assert_arrived(lab.work(), requests=TRIES + 5)


def test_throttling_that_does_not_end_gives_the_job_back(lab: Lab) -> None:
    lab.fail(refuse(503, "SlowDown"), times=10_000)
    report = lab.work(policy=RetryPolicy(first_pause=0.05, longest_pause=0.1, throttle_budget=0.5))
    lab.assert_given_back(report, exit_code=69, requests=lab.requests())
    assert lab.requests() < 100


TRANSIENT = [
    refuse(500, "InternalError"),
    refuse(503, "ServiceUnavailable"),
    lambda _request, _serve: Answer(502),
    lambda _request, _serve: Answer(504, b"<html>Gateway</html>"),
    refuse(400, "RequestTimeout"),
    refuse(409, "OperationAborted"),
    script.reset(),
]


@pytest.mark.parametrize("act", TRANSIENT)
def test_a_transient_fault_has_eight_tries(lab: Lab, act: script.Act) -> None:
    lab.fail(act, times=TRIES - 1)
    lab.assert_arrived(lab.work(), requests=TRIES)


def test_a_file_that_fails_eight_times_has_three_passes(lab: Lab) -> None:
    lab.fail(refuse(500, "InternalError"), times=PASSES * TRIES - 1)
    lab.assert_arrived(lab.work(), requests=PASSES * TRIES)


def test_after_three_passes_the_job_is_in_error(lab: Lab) -> None:
    lab.fail(refuse(500, "InternalError"), times=10_000)
    lab.assert_failed(lab.work(), "the server failed", requests=PASSES * TRIES)


def test_a_part_has_the_same_tries_and_passes(lab: Lab) -> None:
    lab.fail(refuse(500, "InternalError"), times=PASSES * TRIES - 1, operation="UploadPart")
    report = lab.work(size=6 * MIB, **IN_PARTS)
    lab.assert_arrived(report, requests=0)
    assert lab.requests("UploadPart") == PASSES * TRIES
    assert lab.requests("CreateMultipartUpload") == 1, "the passes go on with one upload"


def test_a_listing_that_fails_eight_times_gives_the_job_back(lab: Lab) -> None:
    def fail_pages(request: Request, serve: Callable[[], Answer]) -> Answer:
        # The worker's first look at the bucket has tries of its own and asks for one key, its probe for one prefix.
        of_the_plan = request.query["prefix"] == "lab/a/" and "max-keys" not in request.query
        return error(500, "InternalError") if of_the_plan else serve()

    lab.stub.script.plan("ListObjectsV2", fail_pages, times=10_000)
    lab.assert_given_back(lab.work(), exit_code=69, requests=0)
    failed = [one for one in lab.stub.log.entries if one.operation == "ListObjectsV2" and one.status == 500]
    assert len(failed) == TRIES


def test_a_skewed_clock_is_believed_the_second_time(lab: Lab) -> None:
    lab.fail(refuse(403, "RequestTimeTooSkewed"), times=1)
    lab.assert_arrived(lab.work(), requests=2)


def test_a_skewed_clock_ends_the_worker(lab: Lab) -> None:
    lab.fail(refuse(403, "RequestTimeTooSkewed"), times=10_000)
    report = lab.work()
    lab.assert_given_back(report, exit_code=69, requests=2)
    assert "clock" in str(report.stopped)


RENEWABLE = [
    refuse(400, "ExpiredToken"),
    refuse(403, "ExpiredToken"),
    refuse(400, "InvalidToken"),
    lambda _request, _serve: error(403, "AccessDenied2", "Request has expired"),
    lambda _request, _serve: Answer(401),
]


@pytest.mark.parametrize("act", RENEWABLE)
def test_an_ended_token_is_renewed_and_costs_no_tries(lab: Lab, act: script.Act) -> None:
    lab.fail(act, times=2)
    lab.fail(refuse(500, "InternalError"), times=TRIES - 1)
    lab.assert_arrived(lab.work(renewable=True), requests=TRIES + 2)
    signers = [one.access_key for one in lab.stub.log.entries if one.key == "lab/a/data"]
    assert len(set(signers)) == 3, "each renewal has its own keys, and the last ones are kept"


@pytest.mark.parametrize("act", RENEWABLE)
def test_tokens_that_are_refused_though_fresh_end_the_worker(lab: Lab, act: script.Act) -> None:
    lab.fail(act, times=10_000)
    lab.assert_given_back(lab.work(renewable=True), exit_code=77, requests=3)


FINAL = [refuse(403, "AccessDenied"), refuse(403, "InvalidAccessKeyId"), refuse(403, "SignatureDoesNotMatch")]


@pytest.mark.parametrize("act", [*FINAL, lambda _request, _serve: Answer(401)])
def test_a_final_refusal_ends_the_worker_at_once_and_gives_the_job_back(lab: Lab, act: script.Act) -> None:
    lab.fail(act, times=10_000)
    lab.assert_given_back(lab.work(), exit_code=77, requests=1)


DAMAGED = ["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"]


@pytest.mark.parametrize("code", DAMAGED)
def test_what_arrives_damaged_is_read_and_sent_once_more(lab: Lab, code: str) -> None:
    lab.fail(refuse(400, code), times=1)
    lab.assert_arrived(lab.work(), requests=2)


@pytest.mark.parametrize("code", DAMAGED)
def test_what_arrives_damaged_twice_is_the_files_error(lab: Lab, code: str) -> None:
    lab.fail(refuse(400, code), times=10_000)
    lab.assert_failed(lab.work(), "source, memory or network is unstable", requests=2)


@pytest.mark.parametrize("code", ["NoSuchUpload", "InvalidPart"])
@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_an_upload_that_is_gone_is_forgotten_and_the_file_begun_anew(lab: Lab, code: str, operation: str) -> None:
    def refuse_it(_request: Request, _serve: Callable[[], Answer]) -> Answer:
        if code == "NoSuchUpload":
            lab.stub.store.uploads.clear()
        return error(404, code)

    lab.fail(refuse_it, times=1, operation=operation)
    lab.assert_arrived(lab.work(size=6 * MIB, **IN_PARTS), requests=0)
    assert (lab.requests("CreateMultipartUpload"), lab.requests(operation)) == (2, 2)
    assert lab.stub.store.uploads == {}, "one whose part is odd stands, and is ended"


def test_uploads_that_are_always_gone_are_the_files_error(lab: Lab) -> None:
    lab.fail(refuse(404, "NoSuchUpload"), times=10_000, operation="UploadPart")
    lab.assert_failed(lab.work(size=6 * MIB, **IN_PARTS), "the multipart upload is gone", requests=0)
    assert lab.requests("CreateMultipartUpload") == 3, "two readings; the second one begins with the last upload"


@pytest.mark.parametrize("code", ["EntityTooSmall", "KeyTooLongError", "InvalidRequest"])
def test_an_object_that_is_refused_is_its_own_error(lab: Lab, code: str) -> None:
    lab.fail(refuse(400, code), times=10_000)
    # What the fast engine's server refuses goes through boto3 once more.
    lab.assert_failed(lab.work(), code, requests=2 if lab.engine == "obstore" else 1)


def test_a_put_whose_answer_is_lost_is_made_again_with_the_same_bytes(lab: Lab) -> None:
    lab.fail(script.lose_answer(), times=2)
    lab.assert_arrived(lab.work(), requests=3)
    assert lab.stub.store.buckets["bucket"]["lab/a/data"].body == bytes(10)


@pytest.mark.parametrize("act", [script.lose_answer(), script.error_in_200(committed=True), script.error_in_200()])
def test_a_completion_whose_answer_says_nothing_is_decided_by_the_object(lab: Lab, act: script.Act) -> None:
    lab.fail(act, times=1, operation="CompleteMultipartUpload")
    lab.assert_arrived(lab.work(size=6 * MIB, **IN_PARTS), requests=0)
    assert lab.requests("CreateMultipartUpload") == 1
    assert lab.stub.store.buckets["bucket"]["lab/a/data"].body == bytes(6 * MIB)
