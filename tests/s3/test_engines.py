"""One suite for both engines: what is put arrives as it is, what is listed is what is there, each fault is ours."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from bulkhaul import errors
from bulkhaul.s3.checksums import crc64nvme, encode_crc64nvme
from bulkhaul.s3.client import S3Options
from bulkhaul.s3.credentials import CredentialSource, Grant, Token
from bulkhaul.s3.engine import Engine
from bulkhaul.s3.location import S3Location, key_problem
from s3.engines import ENGINES, MakeEngine
from s3.reach import fixed_source
from servers.seaweed import ADMIN, READER, Keys, Seaweed
from servers.stub import script
from servers.stub.message import Answer
from servers.stub_s3 import StubS3
from servers.tls import self_signed

pytestmark = pytest.mark.slow  # a process or a server a test

ODD_NAMES = (
    *(
        "a%b",
        "a%20b",
        "a%2Fb",
        "%",
        "%zz",
        "a#b",
        "a?b",
        "a?b=c&d",
        "a*b",
        "a~b",
        "~",
        "a b",
        " a",
        "a ",
        "a  b",
        "a+b",
    ),
    *("a&b", "a=b", "a;b", "a:b", "a,b", "a@b", "a$b", "a'b", 'a"b', "<a>", "[a]", "{a}", "a|b", "a^b", "a`b", "a!b"),
    *("(a)", "-a", "_", ".a", "..a", "a.", "a..", "...", "c/0.0.0", "é", "é", "日本", "😀", "a\u00a0b", "a\u200bb"),
    *("a\u2028b", "\ufeffa", "\ufffd", "\u00ad", "İ", "&amp;", "a]]>b", "x" * 200),
)


def crc(body: bytes) -> str:
    return encode_crc64nvme(crc64nvme(body))


@pytest.fixture(params=sorted(ENGINES))
def make(request: pytest.FixtureRequest) -> MakeEngine:
    return ENGINES[request.param]


def on_seaweed(make: MakeEngine, server: Seaweed, bucket: str, keys: Keys = ADMIN) -> Engine:
    return make(bucket, fixed_source(keys.access_key, keys.secret_key), S3Options(endpoint_url=server.url))


def on_stub(make: MakeEngine, stub: StubS3, **options: float) -> Engine:
    token = stub.tokens.issue(None)
    source = fixed_source(token.access_key, token.secret_key, token.session_token)
    return make("bucket", source, S3Options(endpoint_url=stub.url, **options))  # type: ignore[arg-type]


@pytest.fixture
def engine(make: MakeEngine, s3_server: Seaweed, bucket: str) -> Engine:
    return on_seaweed(make, s3_server, bucket)


# --- on the real server ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"x", b"\x00\xff" * 8192, b"m" * 6_000_000], ids=["0", "1", "16Ki", "6M"])
def test_what_is_put_arrives_in_one_piece_with_its_checksum(
    engine: Engine, s3_server: Seaweed, bucket: str, body: bytes
) -> None:
    etag = engine.put("lab/plate/chunk", body, crc64nvme=crc(body))

    assert etag == hashlib.md5(body).hexdigest()
    stored = s3_server.client().get_object(Bucket=bucket, Key="lab/plate/chunk", ChecksumMode="ENABLED")
    assert stored["Body"].read() == body
    assert stored["ChecksumCRC64NVME"] == crc(body)
    assert stored["ETag"] == f'"{etag}"'


def test_a_put_replaces_what_was_there(engine: Engine, s3_server: Seaweed, bucket: str) -> None:
    engine.put("key", b"old", crc64nvme=crc(b"old"))
    engine.put("key", b"new", crc64nvme=crc(b"new"))

    assert s3_server.client().get_object(Bucket=bucket, Key="key")["Body"].read() == b"new"


def test_odd_but_legal_names_are_stored_and_listed_as_they_are(engine: Engine, s3_server: Seaweed, bucket: str) -> None:
    keys = {f"lab/{number:02d}/{name}" for number, name in enumerate(ODD_NAMES)}
    keys |= {f"lab/{number:02d}/d/{name}/f" for number, name in enumerate(ODD_NAMES)}
    assert [key for key in keys if key_problem(key)] == []

    etags = {key: engine.put(key, key.encode(), crc64nvme=crc(key.encode())) for key in sorted(keys)}

    raw = s3_server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="lab/")
    assert {one["Key"] for page in raw for one in page["Contents"]} == keys
    for name in sorted(ENGINES):
        listed = list(on_seaweed(ENGINES[name], s3_server, bucket).list_objects("lab/"))
        assert {one.key: one.etag for one in listed} == etags
        assert all(one.size == len(one.key.encode()) for one in listed)


def test_a_listing_takes_the_prefix_as_it_is_written(engine: Engine, s3_server: Seaweed, bucket: str) -> None:
    for key in ("lab/A1/x", "lab/A10/x", "lab/A1", "lab/B"):
        s3_server.client().put_object(Bucket=bucket, Key=key, Body=b"")

    assert {one.key for one in engine.list_objects("lab/A1/")} == {"lab/A1/x"}
    assert {one.key for one in engine.list_objects("lab/A1")} == {"lab/A1/x", "lab/A10/x", "lab/A1"}
    assert {one.key for one in engine.list_objects("")} == {"lab/A1/x", "lab/A10/x", "lab/A1", "lab/B"}
    assert list(engine.list_objects("nothing/")) == []


def test_many_threads_share_one_engine(engine: Engine) -> None:
    bodies = {f"lab/{number}": str(number).encode() * 100 for number in range(160)}

    with ThreadPoolExecutor(8) as pool:
        etags = list(pool.map(lambda key: engine.put(key, bodies[key], crc64nvme=crc(bodies[key])), bodies))

    assert etags == [hashlib.md5(body).hexdigest() for body in bodies.values()]
    assert {one.key for one in engine.list_objects("lab/")} == set(bodies)


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


# --- scripted faults -------------------------------------------------------------------------------------------------


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


# --- listings --------------------------------------------------------------------------------------------------------

FOREIGN = ("lab/a\nb", "lab//x", "lab/./y", "lab/../z", "lab/folder/", "lab/", "lab/t\tab", "lab/\x7f", "lab/folder")


def test_keys_that_others_put_are_listed_exactly(make: MakeEngine, stub: StubS3) -> None:
    for key in (*FOREIGN, "/lead", "elsewhere"):
        stub.store.put("bucket", key, key.encode())

    listed = list(on_stub(make, stub).list_objects("lab/"))

    assert [one.key for one in listed] == sorted(FOREIGN, key=str.encode)
    assert [one.etag for one in listed] == [hashlib.md5(one.key.encode()).hexdigest() for one in listed]
    assert "/lead" in {one.key for one in on_stub(make, stub).list_objects("")}


def test_a_failed_page_is_asked_for_again_alone(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 3
    for number in range(10):
        stub.store.put("bucket", f"lab/{number}", b"")
    failures = iter([True, False, True, True, False, False, False])
    repeats = 0

    def repeat(call):  # type: ignore[no-untyped-def]
        nonlocal repeats
        while True:
            if next(failures):
                stub.script.plan("ListObjectsV2", script.refuse(500, "InternalError"))
            try:
                return call()
            except errors.Transient:
                repeats += 1

    listed = [one.key for one in on_stub(make, stub).list_objects("lab/", repeat=repeat)]

    assert listed == [f"lab/{number}" for number in range(10)]
    assert repeats == 3
    assert stub.log.counts()["ListObjectsV2"] == 4 + repeats


def test_a_fault_in_mid_listing_surfaces_after_what_was_listed(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 2
    for number in range(4):
        stub.store.put("bucket", f"lab/{number}", b"")
    listing = on_stub(make, stub).list_objects("lab/")
    assert next(listing).key == "lab/0"
    stub.script.plan("ListObjectsV2", script.slow_down())

    assert next(listing).key == "lab/1"
    with pytest.raises(errors.Throttled):
        next(listing)
    assert stub.log.counts()["ListObjectsV2"] == 2


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in here",
        b"",
        b'{"not": "xml"}',
        b"<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents>",
    ],
)
def test_an_answer_that_is_no_listing_is_never_taken_for_an_empty_one(
    make: MakeEngine, stub: StubS3, body: bytes
) -> None:
    stub.script.plan("ListObjectsV2", lambda _request, _serve: Answer(200, body))

    with pytest.raises(errors.S3Error) as caught:
        list(on_stub(make, stub).list_objects("lab/"))
    assert caught.value.thing == "s3://bucket/lab/"


@pytest.mark.parametrize("token", ["", "<NextContinuationToken>t</NextContinuationToken>"])
def test_a_listing_that_never_ends_is_ended(make: MakeEngine, stub: StubS3, token: str) -> None:
    page = f"<ListBucketResult><IsTruncated>true</IsTruncated>{token}</ListBucketResult>".encode()
    stub.script.plan("ListObjectsV2", lambda _request, _serve: Answer(200, page), times=100)

    with pytest.raises(errors.BucketUnusable):
        list(on_stub(make, stub).list_objects("lab/"))
    assert stub.log.counts()["ListObjectsV2"] <= 2


def test_a_page_is_asked_for_only_when_it_is_needed(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 2
    for number in range(6):
        stub.store.put("bucket", f"lab/{number}", b"")

    listing = on_stub(make, stub).list_objects("lab/")
    next(listing), next(listing)

    assert stub.log.counts()["ListObjectsV2"] == 1


# --- pure ------------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(lambda key: key_problem(key) is None))
def test_each_key_that_the_plan_lets_through_is_one_that_obstore_takes_as_it_is(key: str) -> None:
    store = MemoryStore()

    store.put(key, b"")

    assert [one["path"] for batch in store.list() for one in batch] == [key]


def test_a_put_lets_other_threads_run(make: MakeEngine, stub: StubS3) -> None:
    engine = on_stub(make, stub)
    stub.script.plan("PutObject", stub.script.hang(60), key="slow")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(engine.put, "slow", b"x", crc64nvme=crc(b"x"))
        while not stub.script.met:
            time.sleep(0.01)
        engine.put("fast", b"x", crc64nvme=crc(b"x"))
        assert not slow.done()
        stub.script.closing.set()
        with pytest.raises(errors.Transient):
            slow.result()
