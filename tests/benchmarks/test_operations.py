"""The sink does each operation on buckets and objects as S3 does, whoever asks."""

from __future__ import annotations

import hashlib
import random
from base64 import b64encode

import obstore
from obstore.store import S3Store

from benchmarks.running import Program, refused
from benchmarks.wire import crc_of
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.probe import probe
from s3.reach import connection_to, fixed_source

MIB = 1 << 20


def test_a_small_body_is_checked_against_its_checksum_and_a_large_one_trusted(sink: Program) -> None:
    crc = b64encode((0xAE8B14860A799888).to_bytes(8, "big")).decode()
    client = sink.client()
    client.put_object(Bucket="bucket", Key="a", Body=b"123456789", ChecksumCRC64NVME=crc)
    rng = random.Random(1)
    for size in (*range(20), 4095, 4096):
        body = rng.randbytes(size)
        client.put_object(Bucket="bucket", Key="a", Body=body, ChecksumCRC64NVME=crc_of(body))
        wrong = {"Body": body + b"x"[: size < 4096], "ChecksumCRC64NVME": crc_of(body[:-1] + b"?")}
        with refused("BadDigest"):
            client.put_object(Bucket="bucket", Key="b", **wrong)
    with refused("BadDigest"):
        client.put_object(Bucket="bucket", Key="b", Body=b"a", ChecksumCRC64NVME="no")
    body = rng.randbytes(4097)  # trusted
    client.put_object(Bucket="bucket", Key="b", Body=body, ChecksumCRC64NVME=crc)
    assert client.head_object(Bucket="bucket", Key="b", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == crc


def test_buckets_are_made_found_and_removed_as_in_s3(sink: Program) -> None:
    client = sink.client()
    with refused("NoSuchBucket"):
        client.put_object(Bucket="nowhere", Key="a", Body=b"x")
    with refused("NoSuchBucket"):
        client.list_objects_v2(Bucket="nowhere")
    with refused("404"):
        client.head_bucket(Bucket="nowhere")
    client.create_bucket(Bucket="other")
    with refused("BucketAlreadyOwnedByYou"):
        client.create_bucket(Bucket="other")
    assert client.head_bucket(Bucket="other")["BucketRegion"] == "us-east-1"
    assert client.get_bucket_location(Bucket="other")["LocationConstraint"] is None
    assert {one["Name"] for one in client.list_buckets()["Buckets"]} == {"bucket", "other"}
    client.put_object(Bucket="other", Key="a", Body=b"x")
    with refused("BucketNotEmpty"):
        client.delete_bucket(Bucket="other")
    client.delete_object(Bucket="other", Key="a")
    client.delete_bucket(Bucket="other")
    with refused("NotImplemented"):
        client.get_object_acl(Bucket="bucket", Key="a")
    with refused("NotImplemented"):
        client.get_bucket_versioning(Bucket="bucket")


def test_an_object_keeps_size_etag_checksum_and_metadata(sink: Program) -> None:
    client = sink.client(request_checksum_calculation="when_required")
    at = {"Bucket": "bucket", "Key": "a/b"}
    md5 = hashlib.md5(b"hello")
    answer = client.put_object(**at, Body=b"hello", ContentMD5=b64encode(md5.digest()).decode())
    assert answer["ETag"] == f'"{md5.hexdigest()}"'
    first = client.put_object(**at, Body=b"hello", Metadata={"mtime": "1.5", "x": "y"})["ETag"]
    assert first.endswith('-1"')
    assert first == client.put_object(**at, Body=b"hello")["ETag"]
    assert first != client.put_object(**at, Body=b"olleh")["ETag"]
    answer = client.put_object(**at, Body=b"hello", ChecksumCRC64NVME=crc_of(b"hello"), Metadata={"x": "y"})
    assert answer["ChecksumCRC64NVME"] == crc_of(b"hello")
    head = client.head_object(**at)
    assert (head["ContentLength"], head["ETag"], head["Metadata"]) == (5, answer["ETag"], {"x": "y"})
    assert "ChecksumCRC64NVME" not in head
    head = client.head_object(**at, ChecksumMode="ENABLED")
    assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == (crc_of(b"hello"), "FULL_OBJECT")
    assert client.get_object(**at)["Body"].read() == bytes(5)
    client.delete_object(**at)
    client.delete_object(**at)
    with refused("404"):
        client.head_object(**at)


def test_what_s3_refuses_is_refused(sink: Program) -> None:
    client = sink.client()
    at = {"Bucket": "bucket", "Key": "a/b"}
    client.put_object(**at, Body=b"hello")
    with refused("PreconditionFailed"):
        client.put_object(**at, Body=b"x", IfNoneMatch="*")
    client.put_object(Bucket="bucket", Key="new", Body=b"x", IfNoneMatch="*")
    with refused("NotImplemented"):
        client.copy_object(**at, CopySource="bucket/new")
    with refused("404"):
        client.head_object(Bucket="bucket", Key="none")
    with refused("NoSuchKey"):
        client.get_object(Bucket="bucket", Key="none")
    client.put_object(Bucket="bucket", Key="k" * 1024, Body=b"x")
    with refused("KeyTooLongError"):
        client.put_object(Bucket="bucket", Key="k" * 1025, Body=b"x")


def test_a_body_of_300_mib_comes_and_goes(sink: Program) -> None:
    client = sink.client(request_checksum_calculation="when_required")
    large = 300 * MIB
    client.put_object(Bucket="bucket", Key="large", Body=bytes(large))
    assert len(client.get_object(Bucket="bucket", Key="large")["Body"].read()) == large


def test_each_request_is_counted_by_its_kind(sink: Program) -> None:
    client = sink.client()
    sink.reset()
    client.put_object(Bucket="bucket", Key="a", Body=b"12345")
    client.list_objects_v2(Bucket="bucket")
    client.head_object(Bucket="bucket", Key="a")
    client.create_multipart_upload(Bucket="bucket", Key="b")
    client.delete_object(Bucket="bucket", Key="none")
    names = ("put", "list", "head", "create", "delete", "bytes", "objects")
    expected = dict.fromkeys(("upload_part", "complete", "other"), 0) | dict.fromkeys(names, 1) | {"bytes": 5}
    assert sink.stats() == expected
    sink.reset()
    assert sink.stats() == dict.fromkeys(expected, 0)
    assert client.head_bucket(Bucket="bucket")
    assert "Uploads" not in client.list_multipart_uploads(Bucket="bucket")


def test_obstore_puts_and_lists(sink: Program) -> None:
    client = sink.client()
    store = S3Store(
        "bucket",
        config={
            "endpoint": sink.url,
            "region": "us-east-1",
            "access_key_id": "any",
            "secret_access_key": "any",
            "checksum_algorithm": "CRC64NVME",
            "unsigned_payload": True,
            "virtual_hosted_style_request": False,
        },
        client_options={"allow_http": True},
    )
    for size in (0, 1, 4096, 4097, 20 * MIB):
        body = bytes(size)
        etag = store.put(f"é +{size}", body, use_multipart=False)["e_tag"]
        head = client.head_object(Bucket="bucket", Key=f"é +{size}", ChecksumMode="ENABLED")
        assert (head["ContentLength"], head["ETag"]) == (size, etag)
        assert head["ChecksumCRC64NVME"] == crc_of(body)
    store.put("parts", bytes(25 * MIB), use_multipart=True, chunk_size=5 * MIB)
    assert client.head_object(Bucket="bucket", Key="parts")["ContentLength"] == 25 * MIB
    assert {one["path"] for page in obstore.list(store) for one in page} >= {"parts", "é +0"}


def test_bulkhauls_probe_finds_all_that_it_looks_for(sink: Program) -> None:
    """And leaves nothing behind."""
    client = sink.client()
    features = probe(connection_to(sink.url, S3Location("bucket", "lab/plate"), fixed_source("any", "any")), "token")
    lacking = [name for name, value in features.as_dict().items() if value is False]
    assert not lacking, lacking
    assert not features.leftovers
    assert not features.notes()
    assert sink.stats()["objects"] == 0
    assert "Uploads" not in client.list_multipart_uploads(Bucket="bucket")
