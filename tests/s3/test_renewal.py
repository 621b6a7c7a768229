"""Tokens that end while boto3 and obstore work: renewed and the request repeated, or told."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from bulkhaul.errors import CredentialsError, ObjectRefused
from bulkhaul.s3.client import LiveCredentials, make_client, s3_errors
from bulkhaul.s3.credentials import CredentialSource, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.retry import repeat
from bulkhaul.s3.token import Token, obstore_provider
from s3.bank import TARGET, Bank
from servers.stub.message import Answer
from servers.stub_s3 import StubS3


def stub_source(stub: StubS3, life: float) -> CredentialSource:
    """A source whose tokens end at the stub after `life` seconds."""

    def provide(_location: S3Location) -> Grant:
        issued = stub.tokens.issue(life)
        assert issued.ends_at is not None
        end = datetime.fromtimestamp(issued.ends_at, UTC)
        return Grant(Token(issued.access_key, issued.secret_key, issued.session_token, end))

    return CredentialSource(provide, TARGET)


@pytest.mark.slow
def test_boto3_and_obstore_outlive_tokens_of_a_second(stub: StubS3) -> None:
    source = stub_source(stub, 1.0)
    client = make_client("s3", S3Options(endpoint_url=stub.url), source=source)
    store = S3Store(
        "bucket",
        config={"endpoint": stub.url, "region": "us-east-1", "unsigned_payload": True},
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
        credential_provider=obstore_provider(source.token),  # type: ignore[arg-type]
    )
    number, end = 0, time.monotonic() + 3.0
    while time.monotonic() < end:
        number += 1
        client.put_object(Bucket="bucket", Key=f"boto3/{number}", Body=b"x")
        obstore.put(store, f"obstore/{number}", b"x", use_multipart=False)
        time.sleep(0.01)

    assert set(stub.log.statuses("PutObject")) == {200}
    assert len(stub.store.buckets["bucket"]) == 2 * number
    assert 3 <= stub.tokens.issued <= 7


def test_a_token_that_s3_ends_early_is_renewed_and_the_request_repeated(stub: StubS3) -> None:
    source = stub_source(stub, 3600.0)
    client = make_client("s3", S3Options(endpoint_url=stub.url), source=source)

    def put() -> object:
        with s3_errors("s3://bucket/key"):
            return client.put_object(Bucket="bucket", Key="key", Body=b"x")

    repeat(put, source=source)
    stub.tokens.end_all()
    repeat(put, source=source)

    assert stub.log.statuses("PutObject") == [200, 400, 200]
    assert stub.tokens.issued == 2


def test_heads_bare_400_is_repeated_with_a_renewed_token(stub: StubS3) -> None:
    source = stub_source(stub, 3600.0)
    client = make_client("s3", S3Options(endpoint_url=stub.url), source=source)
    client.put_object(Bucket="bucket", Key="key", Body=b"x")
    stub.tokens.end_all()

    def head() -> Any:
        with s3_errors("s3://bucket/key"):
            return client.head_object(Bucket="bucket", Key="key")

    assert repeat(head, source=source)["ContentLength"] == 1
    assert stub.log.statuses("HeadObject") == [400, 200]
    assert stub.tokens.issued == 2


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("get_object", {"Key": "key"}),
        ("list_objects_v2", {}),
        ("create_multipart_upload", {"Key": "key"}),
        ("delete_object", {"Key": "key"}),
    ],
)
def test_another_requests_bare_400_is_a_refusal_and_costs_no_token(
    stub: StubS3, operation: str, arguments: dict[str, str]
) -> None:
    source = stub_source(stub, 3600.0)
    client = make_client("s3", S3Options(endpoint_url=stub.url), source=source)
    stub.script.plan("*", lambda _request, _serve: Answer(400), times=9)

    def request() -> object:
        with s3_errors("s3://bucket/key"):
            return getattr(client, operation)(Bucket="bucket", **arguments)

    with pytest.raises(ObjectRefused):
        repeat(request, source=source)
    assert len(stub.log.entries) == 1
    assert stub.tokens.issued == 1


def test_the_sources_own_error_comes_out_of_a_boto3_request(stub: StubS3) -> None:
    bank = Bank(failing=CredentialsError("grant", "no matching grant", "ask the owner"))
    client = make_client("s3", S3Options(endpoint_url=stub.url), source=bank.source())

    with pytest.raises(CredentialsError, match="no matching grant"), s3_errors("s3://bucket"):
        client.head_bucket(Bucket="bucket")
    assert stub.log.entries == []


def test_botocore_sees_each_token_as_it_is_now() -> None:
    bank = Bank(life=5.0)
    credentials = LiveCredentials(bank.source())

    first = credentials.get_frozen_credentials()
    bank.wait(6)
    second = credentials.get_frozen_credentials()

    assert (first.access_key, second.access_key) == ("KEY1", "KEY2")
    assert (second.secret_key, second.token) == ("secret", "session")


def test_obstore_is_made_to_ask_again_soon_also_for_keys_without_an_end() -> None:
    given = obstore_provider(CredentialSource(Bank(life=None), TARGET).token)()

    assert given["expires_at"] <= datetime.now(UTC) + timedelta(minutes=5)
