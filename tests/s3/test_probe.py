"""The probe finds what a server really does, names the right that is missing, and leaves nothing behind unnamed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from bulkhaul import errors
from bulkhaul.s3.features import Features
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.probe import PROBE_NAME, probe, remove_probe
from s3.reach import connection_to, fixed_source
from servers.moto import MotoServer
from servers.seaweed import (
    ADMIN,
    NO_LIST,
    NO_READ,
    NO_WRITE,
    READER,
    WRITER,
    WRITER_BUCKET,
    Keys,
    Seaweed,
    plain_client,
)
from servers.stub import script
from servers.stub_s3 import StubS3

EVERYTHING = Features(
    checksum_enforced=True,
    checksum_stored=True,
    head=True,
    conditional_put=True,
    multipart=True,
    multipart_checksum=True,
    part_checksum_enforced=True,
    list_parts=True,
    list_uploads=True,
    lists_at_once=True,
    lists_in_byte_order=True,
)
TOKEN = "0123456789abcdef0123456789abcdef"
# It keeps folders as folders and lists `x/y` where `x` belongs.
SEAWEED = replace(EVERYTHING, lists_in_byte_order=False)


def probe_as(server: Seaweed, keys: Keys, bucket: str, prefix: str = "lab/plate") -> Features:
    source = fixed_source(keys.access_key, keys.secret_key)
    return probe(connection_to(server.url, S3Location(bucket, prefix), source), TOKEN)


def probe_stub(stub: StubS3, *, on_doubt: Callable[[], None] = lambda: None) -> Features:
    token = stub.tokens.issue(None)
    source = fixed_source(token.access_key, token.secret_key)
    return probe(connection_to(stub.url, S3Location("bucket", "lab"), source), TOKEN, on_doubt=on_doubt)


def leftovers(server: Seaweed, bucket: str) -> list[str]:
    client = server.client()
    objects = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [one["Key"] for one in [*objects, *uploads]]


@pytest.mark.parametrize("prefix", ["", "lab/plate", "a b/ü"])
def test_seaweed_does_everything_and_nothing_stays(s3_server: Seaweed, bucket: str, prefix: str) -> None:
    assert probe_as(s3_server, ADMIN, bucket, prefix) == SEAWEED
    assert leftovers(s3_server, bucket) == []


def test_rights_in_one_bucket_are_enough(s3_server: Seaweed) -> None:
    assert probe_as(s3_server, WRITER, WRITER_BUCKET) == SEAWEED


@pytest.mark.parametrize("keys", [READER, NO_WRITE], ids=lambda keys: keys.name)
def test_no_right_to_write_names_the_prefix_and_the_right(s3_server: Seaweed, bucket: str, keys: Keys) -> None:
    with pytest.raises(errors.AccessDenied, match=f"s3://{bucket}/lab/plate: .*; ask for s3:PutObject"):
        probe_as(s3_server, keys, bucket)
    assert leftovers(s3_server, bucket) == []


def test_no_right_to_list_names_the_prefix_and_the_right(s3_server: Seaweed, bucket: str) -> None:
    with pytest.raises(errors.AccessDenied, match=f"s3://{bucket}/lab/plate: .*; ask for s3:ListBucket"):
        probe_as(s3_server, NO_LIST, bucket)
    assert leftovers(s3_server, bucket) == []


def test_without_the_right_to_read_the_mode_is_stated(s3_server: Seaweed, bucket: str) -> None:
    features = probe_as(s3_server, NO_READ, bucket)

    assert features.checksum_enforced
    assert not features.head
    assert any("HEAD is refused" in note for note in features.notes())
    assert leftovers(s3_server, bucket) == []


def test_a_missing_bucket_is_named(s3_server: Seaweed) -> None:
    with pytest.raises(errors.BucketUnusable, match="s3://no-such-bucket/lab/plate: the bucket does not exist"):
        probe_as(s3_server, ADMIN, "no-such-bucket")


def test_moto_is_seen_to_check_nothing(moto_server: MotoServer) -> None:
    plain_client(moto_server.url, "any", "any").create_bucket(Bucket="probed")

    features = probe(connection_to(moto_server.url, S3Location("probed"), fixed_source("any", "any")), TOKEN)

    assert not features.checksum_enforced
    assert not features.part_checksum_enforced
    assert any("does not check CRC64NVME" in note for note in features.notes())


def test_the_stub_does_everything_with_sixteen_requests(stub: StubS3) -> None:
    assert probe_stub(stub) == EVERYTHING
    assert stub.log.counts().total() == 16
    assert stub.store.buckets["bucket"] == {}
    assert stub.store.uploads == {}
    written = {entry.key for entry in stub.log.entries if entry.key}
    assert len(written) == 3
    assert all(key.startswith(f"lab/{PROBE_NAME}") for key in written)


def test_a_server_that_ignores_checksums_and_conditions_is_seen_as_it_is(stub: StubS3) -> None:
    stub.store.enforce_checksums = stub.store.conditional = False

    features = probe_stub(stub)

    assert (features.checksum_enforced, features.part_checksum_enforced, features.conditional_put) == (False,) * 3
    assert features.head


def test_a_server_that_refuses_checksums_is_refused(stub: StubS3) -> None:
    stub.script.plan("PutObject", script.refuse(400, "InvalidRequest"), times=10)

    with pytest.raises(errors.BucketUnusable, match="does not take an object with a CRC64NVME checksum"):
        probe_stub(stub)


@pytest.mark.parametrize("way", ["denied", "lacking"])
@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ("HeadObject", "head"),
        ("CreateMultipartUpload", "multipart"),
        ("ListParts", "list_parts"),
        ("ListMultipartUploads", "list_uploads"),
    ],
)
def test_what_is_refused_or_unknown_becomes_a_stated_mode(stub: StubS3, way: str, operation: str, field: str) -> None:
    getattr(stub, way).add(operation)

    features = probe_stub(stub)

    assert getattr(features, field) is False
    assert features.leftovers == ()
    assert stub.store.buckets["bucket"] == {}
    assert stub.store.uploads == {}


def test_what_may_not_be_removed_is_named(stub: StubS3) -> None:
    stub.denied |= {"DeleteObject", "AbortMultipartUpload"}

    features = probe_stub(stub)

    keys = sorted(stub.store.buckets["bucket"])
    assert len(keys) == 3
    assert features.leftovers == tuple(f"s3://bucket/{key}" for key in keys)
    assert all(any(key in note for note in features.notes()) for key in keys)


def test_an_upload_that_may_neither_be_ended_nor_completed_is_named(stub: StubS3) -> None:
    stub.denied |= {"CompleteMultipartUpload", "AbortMultipartUpload"}

    features = probe_stub(stub)

    with_checksums, with_md5 = stub.store.uploads  # each way is tried
    key = stub.store.uploads[with_md5].key
    assert features.leftovers == tuple(
        f"multipart upload {upload} of s3://bucket/{key}" for upload in (with_checksums, with_md5)
    )
    assert not features.multipart
    assert stub.store.buckets["bucket"] == {}


def test_a_fault_on_the_way_is_repeated_and_one_that_lasts_still_cleans_up(stub: StubS3) -> None:
    stub.script.plan("PutObject", script.refuse(500, "InternalError"))
    assert probe_stub(stub) == EVERYTHING

    stub.script.plan("ListParts", script.refuse(400, "ExpiredToken"), times=100)
    with pytest.raises(errors.CredentialsError):
        probe_stub(stub)
    assert stub.store.buckets["bucket"] == {}
    assert stub.store.uploads == {}


def test_a_removal_that_fails_is_in_doubt_and_not_taken_for_refused(stub: StubS3) -> None:
    doubts: list[str] = []
    stub.script.plan("DeleteObject", script.refuse(500, "InternalError"), times=99)

    assert probe_stub(stub, on_doubt=lambda: doubts.append("told")) == EVERYTHING

    assert doubts == ["told"]
    stub.script.clear()
    assert probe_stub(stub, on_doubt=lambda: doubts.append("again")) == EVERYTHING
    assert doubts == ["told"]


@pytest.mark.parametrize("times", [1, 99])
def test_an_upload_whose_id_was_lost_with_its_answer_is_found_and_ended(stub: StubS3, times: int) -> None:
    stub.script.plan("CreateMultipartUpload", script.lose_answer(), times=times)
    with suppress(errors.Transient):
        probe_stub(stub)
    assert stub.log.counts()["CreateMultipartUpload"] > 1
    assert stub.store.uploads == {}


def test_a_closed_gate_lets_no_probe_out(stub: StubS3) -> None:
    def gate() -> None:
        raise errors.Stopped("worker", "time limit", "nothing")

    token = stub.tokens.issue(None)
    source = fixed_source(token.access_key, token.secret_key)
    with pytest.raises(errors.Stopped):
        probe(connection_to(stub.url, S3Location("bucket"), source), TOKEN, gate=gate)
    assert stub.log.entries == []


@pytest.mark.parametrize("refused", [None, "DeleteObject", "ListMultipartUploads", "AbortMultipartUpload"])
def test_what_a_probe_left_is_removed_as_far_as_that_is_allowed(stub: StubS3, refused: str | None) -> None:
    token = stub.tokens.issue(None)
    connection = connection_to(stub.url, S3Location("bucket", "lab"), fixed_source(token.access_key, token.secret_key))
    key = f"lab/{PROBE_NAME}{TOKEN}-a"
    for name in (key, f"lab/{PROBE_NAME}{TOKEN}/b", "lab/data"):
        connection.client.put_object(Bucket="bucket", Key=name, Body=b"x")
    for name in (key, "lab/data"):
        connection.client.create_multipart_upload(Bucket="bucket", Key=name)
    if refused:
        stub.script.plan(refused, script.refuse(403, "AccessDenied"), times=9)
    remove_probe(connection, TOKEN)
    stub.script.clear()
    objects = [entry["Key"] for entry in connection.client.list_objects_v2(Bucket="bucket")["Contents"]]
    uploads = [entry["Key"] for entry in connection.client.list_multipart_uploads(Bucket="bucket")["Uploads"]]
    assert len(objects) == (3 if refused == "DeleteObject" else 1)
    assert uploads == ([key, "lab/data"] if refused and "Upload" in refused else ["lab/data"])
    assert "lab/data" in objects


def test_a_fault_while_a_left_probe_is_removed_is_told(stub: StubS3) -> None:
    token = stub.tokens.issue(None)
    connection = connection_to(stub.url, S3Location("bucket", "lab"), fixed_source(token.access_key, token.secret_key))
    stub.script.plan("DeleteObject", script.refuse(500, "InternalError"), times=99)
    with pytest.raises(errors.Transient):
        remove_probe(connection, TOKEN)


@pytest.mark.parametrize("features", [Features(), EVERYTHING, Features(leftovers=("a", "b"))])
def test_features_are_read_back_from_json(features: Features) -> None:
    assert Features.from_dict(json.loads(json.dumps(features.as_dict()))) == features


@pytest.mark.parametrize(
    "data", [{}, {**EVERYTHING.as_dict(), "head": "yes"}, {**EVERYTHING.as_dict(), "leftovers": 1}]
)
def test_other_json_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not the features"):
        Features.from_dict(data)


def test_a_server_that_does_everything_needs_no_note() -> None:
    assert EVERYTHING.notes() == ()
