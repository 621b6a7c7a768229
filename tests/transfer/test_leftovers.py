"""Uploads that no file needs any more: each is ended or told of, and an outage is not waited out once for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bulkhaul.errors import CredentialsError, S3Error, Throttled
from bulkhaul.s3.policy import RetryPolicy
from bulkhaul.s3.token import Token
from bulkhaul.transfer.journal import Journal
from bulkhaul.transfer.limits import Limits
from bulkhaul.transfer.publish import abort_leftovers
from bulkhaul.transfer.requests import Requests
from bulkhaul.transfer.terms import TransferOptions
from servers.stub import script
from servers.stub_s3 import StubS3
from transfer.real import real_connection

QUICK = RetryPolicy(tries=2, first_pause=0.01, throttle_budget=0.05)
PARKED = 3


@pytest.fixture
def run(stub: StubS3, tmp_path: Path) -> Iterator[Any]:
    """What the end of a transfer knows: a journal with three parked uploads, and how requests are made."""
    issued = stub.tokens.issue(None)
    token = Token(issued.access_key, issued.secret_key, issued.session_token)
    connection = real_connection(stub.url, "bucket", "s3transfer", token)
    requests = Requests(connection, lambda: None, Limits(TransferOptions().worker_limits), QUICK)
    with Journal(tmp_path / "partial.jsonl", earlier=()) as journal:
        for number in range(PARKED):
            key = f"p/plate/{number}"
            upload = connection.client.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"]
            journal.begun(key, upload, 5 << 20, 1, 1, 1)
        yield SimpleNamespace(journal=journal, requests=requests)


def test_each_upload_is_ended(run: Any, stub: StubS3) -> None:
    assert abort_leftovers(run) == []
    assert stub.store.uploads == {}
    assert run.journal.parked() == ()


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (500, "InternalError")])
def test_a_fault_of_an_upload_is_told_and_the_next_is_tried(run: Any, stub: StubS3, status: int, code: str) -> None:
    stub.script.plan("AbortMultipartUpload", script.refuse(status, code), times=1_000)
    assert len(abort_leftovers(run)) == PARKED
    assert len(run.journal.parked()) == PARKED


@pytest.mark.parametrize(
    ("status", "code", "kind"), [(503, "SlowDown", Throttled), (403, "InvalidAccessKeyId", CredentialsError)]
)
def test_what_each_further_upload_would_meet_ends_it(
    run: Any, stub: StubS3, status: int, code: str, kind: type[S3Error]
) -> None:
    stub.script.plan("AbortMultipartUpload", script.refuse(status, code), times=1_000)
    with pytest.raises(kind):
        abort_leftovers(run)
    first = {entry.key for entry in stub.log.entries if entry.operation == "AbortMultipartUpload"}
    assert len(first) == 1
    assert len(run.journal.parked()) == PARKED
