"""One suite for both engines: each fault is told in the words of this project, and met once."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkhaul import errors
from bulkhaul.s3.credentials import CredentialSource, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from s3.engines import ENGINES, MakeEngine, on_seaweed, on_stub
from s3.expected import crc
from s3.reach import fixed_source
from servers.seaweed import ADMIN, READER, Keys, Seaweed
from servers.stub import script
from servers.stub.message import Answer
from servers.stub_s3 import StubS3
from servers.tls import self_signed

pytestmark = pytest.mark.slow  # a process or a server a test


@pytest.mark.parametrize(
    ("keys", "kind", "code"),
    [
        (READER, errors.AccessDenied, "AccessDenied"),
        (Keys("", ADMIN.access_key, "wrong", ()), errors.CredentialsError, "SignatureDoesNotMatch"),
        (Keys("", "UNKNOWN", "wrong", ()), errors.CredentialsError, "InvalidAccessKeyId"),
    ],
    ids=["no right", "wrong secret", "unknown key"],
)
def test_refused_keys_are_told_apart(
    make: MakeEngine,
    s3_server: Seaweed,
    bucket: str,
    keys: Keys,
    kind: type[errors.S3Error],
    code: str,
) -> None:
    with pytest.raises(kind) as caught:
        on_seaweed(make, s3_server, bucket, keys).put("lab/key", b"x", crc64nvme=crc(b"x"))

    assert (type(caught.value), caught.value.code) == (kind, code)
    assert caught.value.thing == f"s3://{bucket}/lab/key"
    assert "\n" not in str(caught.value)
    assert keys.secret_key not in str(caught.value)


def test_a_missing_bucket_is_told_for_puts_and_listings(make: MakeEngine, s3_server: Seaweed) -> None:
    engine = on_seaweed(make, s3_server, "no-such-bucket")

    with pytest.raises(errors.BucketUnusable, match="does not exist"):
        engine.put("key", b"x", crc64nvme=crc(b"x"))
    with pytest.raises(errors.BucketUnusable, match="does not exist"):
        list(engine.list_objects("lab/"))


def test_the_portable_engine_sends_the_checksum_that_it_is_given(s3_server: Seaweed, bucket: str) -> None:
    with pytest.raises(errors.IntegrityFailed):
        on_seaweed(ENGINES["s3transfer"], s3_server, bucket).put("key", b"x", crc64nvme=crc(b"y"))

    assert "Contents" not in s3_server.client().list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT", "http://127.0.0.1:1"),
        ("AWS_CHECKSUM_ALGORITHM", "sha256"),
        ("AWS_SESSION_TOKEN", "somebody's"),
        ("AWS_S3_EXPRESS", "true"),
    ],
)
def test_variables_that_only_one_library_reads_change_nothing(
    make: MakeEngine,
    s3_server: Seaweed,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(name, value)

    on_seaweed(make, s3_server, bucket).put("key", b"x", crc64nvme=crc(b"x"))

    stored = s3_server.client().head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
    assert stored["ChecksumCRC64NVME"] == crc(b"x")


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (script.slow_down(), errors.Throttled),
        (script.refuse(500, "InternalError"), errors.Transient),
        (script.refuse(400, "ExpiredToken"), errors.CredentialsExpired),
        (script.refuse(403, "ExpiredToken"), errors.CredentialsExpired),
        (script.refuse(400, "BadDigest"), errors.IntegrityFailed),
        (script.refuse(400, "RequestTimeout"), errors.Transient),
        (script.refuse(409, "OperationAborted"), errors.Transient),
        (script.refuse(403, "RequestTimeTooSkewed"), errors.ClockSkewed),
        (script.refuse(400, "KeyTooLongError"), errors.ObjectRefused),
        (script.refuse(501, "NotImplemented"), errors.BucketUnusable),
        (script.reset(), errors.Transient),
        (lambda _request, _serve: Answer(503), errors.Transient),
        (lambda _request, _serve: Answer(400), errors.ObjectRefused),  # only HEAD's may mean an ended token
        (lambda _request, _serve: Answer(403), errors.AccessDenied),
        (lambda _request, _serve: Answer(429), errors.Throttled),
        (lambda _request, _serve: Answer(200), errors.BucketUnusable),
    ],
)
def test_each_fault_of_a_put_is_met_once_and_has_its_class(
    make: MakeEngine, stub: StubS3, act: script.Act, kind: type[errors.S3Error]
) -> None:
    stub.script.plan("PutObject", act, times=5)
    engine = on_stub(make, stub)

    with pytest.raises(errors.S3Error) as caught:
        engine.put("lab/key", b"x", crc64nvme=crc(b"x"))

    assert type(caught.value) is kind
    assert caught.value.thing == "s3://bucket/lab/key"
    assert "\n" not in str(caught.value)
    assert stub.log.counts()["PutObject"] == 1


def test_a_bucket_of_another_region_is_unusable(make: MakeEngine, stub: StubS3) -> None:
    stub.script.plan("PutObject", lambda _request, _serve: Answer(301), times=5)

    with pytest.raises(errors.BucketUnusable, match="region"):
        on_stub(make, stub).put("key", b"x", crc64nvme=crc(b"x"))


def test_a_server_that_hangs_ends_in_a_transient_fault(make: MakeEngine, stub: StubS3) -> None:
    stub.script.plan("PutObject", stub.script.hang(30))
    engine = on_stub(make, stub, read_timeout=0.3)
    begun = time.monotonic()

    with pytest.raises(errors.Transient):
        engine.put("key", b"x", crc64nvme=crc(b"x"))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid"])
def test_an_endpoint_that_is_not_there_is_unreachable(make: MakeEngine, url: str) -> None:
    engine = make("bucket", fixed_source("a", "b"), S3Options(endpoint_url=url))

    with pytest.raises(errors.Unreachable):
        engine.put("key", b"x", crc64nvme=crc(b"x"))
    with pytest.raises(errors.Unreachable):
        list(engine.list_objects("lab/"))


def test_a_certificate_that_nobody_vouches_for_makes_the_bucket_unusable(make: MakeEngine, tmp_path: Path) -> None:
    with StubS3(tls=self_signed(tmp_path)) as stub, pytest.raises(errors.BucketUnusable, match="no secure connection"):
        on_stub(make, stub).put("key", b"x", crc64nvme=crc(b"x"))


def test_a_plain_server_under_an_https_name_makes_the_bucket_unusable(make: MakeEngine, stub: StubS3) -> None:
    options = S3Options(endpoint_url=stub.url.replace("http://", "https://"))

    with pytest.raises(errors.BucketUnusable, match="no secure connection"):
        make("bucket", fixed_source("a", "b"), options).put("key", b"x", crc64nvme=crc(b"x"))


def test_a_ca_bundle_that_cannot_be_read_is_a_matter_of_settings(tmp_path: Path) -> None:
    options = S3Options(endpoint_url="https://127.0.0.1:1", ca_bundle=str(tmp_path / "missing.pem"))

    with pytest.raises(errors.UsageError, match=r"missing\.pem"):
        ENGINES["obstore"]("bucket", fixed_source("a", "b"), options)


def test_a_provider_that_fails_is_heard_in_its_own_words(make: MakeEngine, stub: StubS3) -> None:
    def provider(_location: S3Location) -> Grant:
        raise errors.CredentialsError("grant of lab", "nobody grants it", "ask the archive")

    engine = make("bucket", CredentialSource(provider, S3Location("bucket")), S3Options(endpoint_url=stub.url))

    with pytest.raises(errors.CredentialsError) as caught:
        engine.put("key", b"x", crc64nvme=crc(b"x"))
    assert str(caught.value) == "grant of lab: nobody grants it; ask the archive"
    assert stub.log.entries == []


def test_a_renewed_token_reaches_both_libraries(make: MakeEngine, stub: StubS3) -> None:
    source = CredentialSource(lambda _location: Grant(_token(stub, life=60)), S3Location("bucket"))
    engine = make("bucket", source, S3Options(endpoint_url=stub.url))
    engine.put("key", b"x", crc64nvme=crc(b"x"))
    stub.tokens.end_all()
    used = source.token()

    with pytest.raises(errors.CredentialsExpired):
        engine.put("key", b"y", crc64nvme=crc(b"y"))
    source.renew(used)
    time.sleep(0.15)  # obstore keeps its copy for 100 ms
    engine.put("key", b"z", crc64nvme=crc(b"z"))

    assert stub.store.buckets["bucket"]["key"].body == b"z"


def _token(stub: StubS3, *, life: float) -> Token:
    issued = stub.tokens.issue(life)
    assert issued.ends_at is not None
    return Token(
        issued.access_key, issued.secret_key, issued.session_token, datetime.fromtimestamp(issued.ends_at, UTC)
    )
