"""Uploads of ours whose id nobody knows: which of those of a key are ended, and which are left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bulkhaul.s3.nameless import end_nameless_uploads
from s3.large import fast_repeat
from servers.stub.message import Answer
from servers.stub_s3 import StubS3

KEY = "lab/key"
BEGUN = datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp()
"""When each upload was begun, as the stub tells it."""


def begin(client: Any, key: str) -> dict[str, str]:
    upload = {"Bucket": "bucket", "Key": key}
    return {**upload, "UploadId": client.create_multipart_upload(**upload)["UploadId"]}


def end(client: Any, *, since: float = BEGUN) -> None:
    end_nameless_uploads(client, "bucket", KEY, since=since, repeat=fast_repeat(None))


def test_an_upload_without_parts_is_ended_and_others_are_left(stub: StubS3, stub_client: Any) -> None:
    begin(stub_client, KEY)
    with_part, longer = begin(stub_client, KEY), begin(stub_client, f"{KEY}2")
    stub_client.upload_part(**with_part, PartNumber=1, Body=b"x")

    end(stub_client)

    assert set(stub.store.uploads) == {with_part["UploadId"], longer["UploadId"]}


def test_what_was_begun_before_is_somebody_elses(stub: StubS3, stub_client: Any) -> None:
    begin(stub_client, KEY)
    end(stub_client, since=BEGUN + 3600)
    assert len(stub.store.uploads) == 1


def test_a_listing_that_lags_keeps_no_other_upload_alive(stub: StubS3, stub_client: Any) -> None:
    first = begin(stub_client, KEY)
    begin(stub_client, KEY)

    def after_its_end(_request: Any, serve: Any) -> Answer:
        stub.store.uploads.pop(first["UploadId"], None)
        answer: Answer = serve()
        return answer

    stub.script.plan("ListParts", after_its_end)

    end(stub_client)

    assert not stub.store.uploads
