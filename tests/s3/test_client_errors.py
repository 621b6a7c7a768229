"""Each failure of a request, by the real server or on the way to it, becomes one clear line."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkhaul import errors
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.probe import probe
from bulkhaul.s3.retry import open_gate
from bulkhaul.s3.uploading import ObjectRequests
from s3.large import fast_repeat
from s3.reach import client_for, client_for_stub, connection_to, fixed_source
from servers.seaweed import ADMIN, NO_LIST, NO_READ, READER, WRITER, WRITER_BUCKET, Keys, Seaweed
from servers.slow import SlowFront
from servers.stub import script
from servers.stub.message import Answer, tag, xml
from servers.stub_s3 import StubS3
from servers.tls import self_signed


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (script.refuse(500, "InternalError"), errors.Transient),
        (script.slow_down(), errors.Throttled),
        (script.reset(), errors.Transient),
    ],
)
def test_the_library_repeats_nothing_by_itself(stub: StubS3, act: script.Act, kind: type[errors.S3Error]) -> None:
    stub.script.plan("PutObject", act)

    with pytest.raises(kind), s3_errors("s3://bucket/key"):
        client_for_stub(stub).put_object(Bucket="bucket", Key="key", Body=b"")
    assert stub.log.counts() == {"PutObject": 1}


def test_an_error_inside_a_200_is_an_error(stub: StubS3) -> None:
    client = client_for_stub(stub)
    upload = {"Bucket": "bucket", "Key": "key"}
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    etag = client.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]
    stub.script.plan("CompleteMultipartUpload", script.error_in_200())

    with pytest.raises(errors.Transient), s3_errors("s3://bucket/key"):
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert stub.log.counts()["CompleteMultipartUpload"] == 1


@pytest.mark.parametrize(("name", "damaged"), [("MaxKeys", "p"), ("LastModified", "2026-13-45"), ("Size", "1x")])
def test_an_answer_whose_values_cannot_be_read_is_a_transient_fault(stub: StubS3, name: str, damaged: str) -> None:
    """A flipped bit made a `p` of a number: right XML, and a bare ValueError of botocore's."""
    values = {"MaxKeys": "1000", "LastModified": "2026-11-22T00:00:00Z", "Size": "1", name: damaged}
    told = {key: tag(key, value) for key, value in values.items()}
    entry = f"<Contents>{tag('Key', 'a')}{told['LastModified']}{told['Size']}</Contents>"
    listing = xml("ListBucketResult", told["MaxKeys"], tag("IsTruncated", "false"), entry)
    stub.script.plan("ListObjectsV2", lambda _request, _serve: listing)

    with pytest.raises(errors.Transient, match="cannot be read"), s3_errors("s3://bucket"):
        client_for_stub(stub).list_objects_v2(Bucket="bucket")


def test_a_server_that_hangs_ends_by_the_read_timeout(stub: StubS3) -> None:
    stub.script.plan("HeadBucket", stub.script.hang(30))

    with pytest.raises(errors.Transient, match=r"timed out|timeout"), s3_errors("s3://bucket"):
        client_for_stub(stub, read_timeout=0.3).head_bucket(Bucket="bucket")


def test_an_ended_token_is_known_with_and_without_a_body(stub: StubS3) -> None:
    token = stub.tokens.issue(3600)
    client = client_for(stub.url, token.access_key, token.secret_key)
    stub.tokens.end_all()

    with pytest.raises(errors.CredentialsExpired), s3_errors("s3://bucket/key"):
        client.put_object(Bucket="bucket", Key="key", Body=b"")
    with pytest.raises(errors.CredentialsExpired), s3_errors("s3://bucket/key"):
        client.head_object(Bucket="bucket", Key="key")


def test_heads_503_asks_for_fewer_requests_though_it_has_no_body_to_say_so(stub: StubS3) -> None:
    stub.script.plan("HeadObject", script.slow_down())

    with pytest.raises(errors.Throttled), s3_errors("s3://bucket/key"):
        client_for_stub(stub).head_object(Bucket="bucket", Key="key")


@pytest.mark.parametrize("body", [b"", b"<x/>", b"<html><p>Please log in<br></html>", b"<?xml version='1.0'?><Initia"])
def test_an_answer_that_names_no_upload_is_repeated(stub: StubS3, body: bytes) -> None:
    stub.script.plan("CreateMultipartUpload", lambda _request, _serve: Answer(200, body), times=2)
    client = client_for_stub(stub)
    requests = ObjectRequests(client, "bucket", "key", fast_repeat(None), open_gate, checksums=True)

    assert requests.create(lambda: None) in stub.store.uploads
    assert stub.log.counts() == {"CreateMultipartUpload": 3}


@pytest.mark.parametrize("length", [b"0\r\nContent-Length: 0", b"none"])
def test_an_odd_length_of_an_answer_is_no_error(stub: StubS3, length: bytes) -> None:
    """Some proxies say it twice."""

    def answer(_front: SlowFront, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: ' + length + b"\r\n\r\n")

    keys = stub.tokens.issue(None)
    with SlowFront(stub.url, answer) as front:
        client = client_for(front.url, keys.access_key, keys.secret_key)
        assert client.put_object(Bucket="bucket", Key="key")["ETag"] == '"e"'


def test_the_region_that_a_server_names_is_in_the_line(stub: StubS3) -> None:
    region = {"x-amz-bucket-region": "eu-west-1"}
    answer = xml("Error", tag("Code", "PermanentRedirect"), status=301, headers=region)
    stub.script.plan("ListObjectsV2", lambda _request, _serve: answer, times=5)

    with pytest.raises(errors.BucketUnusable, match="another region") as caught, s3_errors("s3://bucket"):
        client_for_stub(stub).list_objects_v2(Bucket="bucket")
    assert "its region is eu-west-1" in caught.value.reason


def test_an_argument_that_the_library_refuses_is_one_line(stub: StubS3) -> None:
    with pytest.raises(errors.ObjectRefused) as caught, s3_errors("s3://bucket"):
        client_for_stub(stub).put_object(Bucket="bucket", Key="", Body=b"")
    assert len(str(caught.value).splitlines()) == 1


def put_error(url: str, keys: Keys, bucket: str, *, secret: str | None = None) -> errors.S3Error:
    client = client_for(url, keys.access_key, secret or keys.secret_key)
    with pytest.raises(errors.S3Error) as caught, s3_errors(f"s3://{bucket}/key"):
        client.put_object(Bucket=bucket, Key="key", Body=b"x")
    return caught.value


def test_a_wrong_secret(s3_server: Seaweed, bucket: str) -> None:
    error = put_error(s3_server.url, ADMIN, bucket, secret="wrong")

    assert type(error) is errors.CredentialsError
    assert error.exit_code == 77
    assert "AWS_SECRET_ACCESS_KEY" in error.next_step
    assert "wrong" not in str(error)


def test_an_unknown_access_key(s3_server: Seaweed, bucket: str) -> None:
    error = put_error(s3_server.url, Keys("nobody", "NOSUCHKEY", "secret", ()), bucket)

    assert type(error) is errors.CredentialsError
    assert "the access key is unknown" in error.reason


@pytest.mark.parametrize("keys", [READER, WRITER], ids=lambda keys: keys.name)
def test_no_right_to_write(s3_server: Seaweed, bucket: str, keys: Keys) -> None:
    assert type(put_error(s3_server.url, keys, bucket)) is errors.AccessDenied


def test_no_right_to_list(s3_server: Seaweed) -> None:
    client = client_for(s3_server.url, NO_LIST.access_key, NO_LIST.secret_key)

    with pytest.raises(errors.AccessDenied), s3_errors("s3://bucket"):
        client.list_objects_v2(Bucket=WRITER_BUCKET)


def test_no_right_to_head(s3_server: Seaweed) -> None:
    client = client_for(s3_server.url, NO_READ.access_key, NO_READ.secret_key)

    with pytest.raises(errors.AccessDenied), s3_errors("s3://bucket/key"):
        client.head_object(Bucket=WRITER_BUCKET, Key="key")


def test_a_missing_bucket_by_put_and_by_head(s3_server: Seaweed) -> None:
    client = client_for(s3_server.url, ADMIN.access_key, ADMIN.secret_key)

    assert type(put_error(s3_server.url, ADMIN, "no-such-bucket")) is errors.BucketUnusable
    with pytest.raises(errors.BucketUnusable, match="does not exist"), s3_errors("s3://no-such-bucket"):
        client.head_bucket(Bucket="no-such-bucket")


def test_a_missing_object(s3_server: Seaweed, bucket: str) -> None:
    client = client_for(s3_server.url, ADMIN.access_key, ADMIN.secret_key)

    for request in (client.head_object, client.get_object):
        with pytest.raises(errors.NoSuchObject), s3_errors("s3://bucket/key"):
            request(Bucket=bucket, Key="key")


def test_a_wrong_checksum(s3_server: Seaweed, bucket: str) -> None:
    client = client_for(s3_server.url, ADMIN.access_key, ADMIN.secret_key)

    with pytest.raises(errors.IntegrityFailed), s3_errors("s3://bucket/key"):
        client.put_object(Bucket=bucket, Key="key", Body=b"x", ChecksumCRC64NVME="AAAAAAAAAAA=")
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_an_upload_that_is_gone(s3_server: Seaweed, bucket: str) -> None:
    client = client_for(s3_server.url, ADMIN.access_key, ADMIN.secret_key)

    with pytest.raises(errors.UploadGone), s3_errors("s3://bucket/key"):
        client.list_parts(Bucket=bucket, Key="key", UploadId="0" * 32)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is bound and does not listen."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_an_unreachable_endpoint_is_named_with_the_reason(closed_port: int) -> None:
    client = client_for(f"http://127.0.0.1:{closed_port}", "a", "b")

    with pytest.raises(errors.Unreachable, match="Connection refused") as caught, s3_errors("s3://bucket"):
        client.head_bucket(Bucket="bucket")
    assert f"127.0.0.1:{closed_port}" in str(caught.value)
    assert caught.value.exit_code == 69


def test_a_host_that_no_name_server_knows() -> None:
    client = client_for("http://s3.bulkhaul.invalid", "a", "b")

    with pytest.raises(errors.Unreachable, match=r"s3\.bulkhaul\.invalid"), s3_errors("s3://bucket"):
        client.head_bucket(Bucket="bucket")


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    client = client_for("http://s3.bulkhaul.invalid", "a", "b")

    with pytest.raises(errors.Unreachable, match="proxy"), s3_errors("s3://bucket"):
        client.head_bucket(Bucket="bucket")


@pytest.fixture
def tls_stub(tmp_path: Path) -> Iterator[tuple[StubS3, Path]]:
    """The stub over TLS with a certificate that nobody has signed."""
    pair = self_signed(tmp_path)
    with StubS3(tls=pair) as stub:
        stub.store.make_bucket("bucket")
        yield stub, pair[0]


def test_a_certificate_that_nobody_vouches_for_is_no_transient_fault(tls_stub: tuple[StubS3, Path]) -> None:
    stub, _ = tls_stub

    with pytest.raises(errors.BucketUnusable, match="certificate verify failed") as caught, s3_errors("s3://bucket"):
        client_for_stub(stub).head_bucket(Bucket="bucket")
    assert not isinstance(caught.value, errors.Transient)
    assert "AWS_CA_BUNDLE" in caught.value.next_step
    assert stub.log.entries == []


def test_a_ca_bundle_makes_the_certificate_good(tls_stub: tuple[StubS3, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    stub, certificate = tls_stub
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    token = stub.tokens.issue(None)

    source = fixed_source(token.access_key, token.secret_key)
    features = probe(connection_to(stub.url, S3Location("bucket"), source), "token")

    assert features.checksum_enforced


def test_a_plain_server_under_an_https_name_is_no_transient_fault(s3_server: Seaweed) -> None:
    client = client_for(s3_server.url.replace("http://", "https://"), "a", "b")

    with pytest.raises(errors.BucketUnusable, match="no secure connection"), s3_errors("s3://bucket"):
        client.head_bucket(Bucket="bucket")
