"""Each operation of the sink, asked for by botocore, obstore and bulkhaul's own probe."""

from __future__ import annotations

import hashlib
import random
import sys
from base64 import b64encode
from typing import Any

import obstore
from check_wire import crc_of, talk
from lab import BENCHMARKS, Program, refused
from obstore.store import S3Store

MIB = 1 << 20


def check_value_of_the_checksum() -> None:
    crc = b64encode((0xAE8B14860A799888).to_bytes(8, "big")).decode()
    with Program("sink") as sink:
        client = sink.client()
        client.put_object(Bucket="bucket", Key="a", Body=b"123456789", ChecksumCRC64NVME=crc)
        rng = random.Random(1)
        for size in (*range(20), 4095, 4096):
            body = rng.randbytes(size)
            client.put_object(Bucket="bucket", Key="a", Body=body, ChecksumCRC64NVME=crc_of(body))
            wrong = {"Body": body + b"x"[: size < 4096], "ChecksumCRC64NVME": crc_of(body[:-1] + b"?")}
            refused(lambda: client.put_object(Bucket="bucket", Key="b", **wrong), "BadDigest")
        refused(lambda: client.put_object(Bucket="bucket", Key="b", Body=b"a", ChecksumCRC64NVME="no"), "BadDigest")
        body = rng.randbytes(4097)  # trusted
        client.put_object(Bucket="bucket", Key="b", Body=body, ChecksumCRC64NVME=crc)
        assert client.head_object(Bucket="bucket", Key="b", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == crc


def check_buckets() -> None:
    with Program("sink") as sink:
        client = sink.client()
        refused(lambda: client.put_object(Bucket="nowhere", Key="a", Body=b"x"), "NoSuchBucket")
        refused(lambda: client.list_objects_v2(Bucket="nowhere"), "NoSuchBucket")
        refused(lambda: client.head_bucket(Bucket="nowhere"), "404")
        client.create_bucket(Bucket="other")
        refused(lambda: client.create_bucket(Bucket="other"), "BucketAlreadyOwnedByYou")
        assert client.head_bucket(Bucket="other")["BucketRegion"] == "us-east-1"
        assert client.get_bucket_location(Bucket="other")["LocationConstraint"] is None
        assert {one["Name"] for one in client.list_buckets()["Buckets"]} == {"bucket", "other"}
        client.put_object(Bucket="other", Key="a", Body=b"x")
        refused(lambda: client.delete_bucket(Bucket="other"), "BucketNotEmpty")
        client.delete_object(Bucket="other", Key="a")
        client.delete_bucket(Bucket="other")
        refused(lambda: client.get_object_acl(Bucket="bucket", Key="a"), "NotImplemented")
        refused(lambda: client.get_bucket_versioning(Bucket="bucket"), "NotImplemented")


def check_objects() -> None:
    with Program("sink") as sink:
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
        refused(lambda: client.put_object(**at, Body=b"x", IfNoneMatch="*"), "PreconditionFailed")
        client.put_object(Bucket="bucket", Key="new", Body=b"x", IfNoneMatch="*")
        assert client.get_object(**at)["Body"].read() == bytes(5)
        refused(lambda: client.copy_object(**at, CopySource="bucket/new"), "NotImplemented")
        refused(lambda: client.head_object(Bucket="bucket", Key="none"), "404")
        refused(lambda: client.get_object(Bucket="bucket", Key="none"), "NoSuchKey")
        client.put_object(Bucket="bucket", Key="k" * 1024, Body=b"x")
        refused(lambda: client.put_object(Bucket="bucket", Key="k" * 1025, Body=b"x"), "KeyTooLongError")
        client.delete_object(**at)
        client.delete_object(**at)
        refused(lambda: client.head_object(**at), "404")
        large = 300 * MIB
        client.put_object(Bucket="bucket", Key="large", Body=bytes(large))
        assert len(client.get_object(Bucket="bucket", Key="large")["Body"].read()) == large


ODD = (
    "",
    "a",
    "b",
    "ab",
    "é",
    "漢",
    "😀",
    "&",
    "<>",
    "'\"",
    "+ ",
    "%41",
    "\n",
    "\r\t",
    "\x01",
    "//",
    "~",
    "\x7f",
    "?#=",
)


def odd_keys(rng: random.Random, count: int) -> list[str]:
    keys = {"/".join(rng.choice(ODD) for _ in range(rng.randint(1, 4))) for _ in range(count)}
    return sorted(keys - {""}, key=str.encode)


def expected_entries(keys: list[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """What S3 would list, keys and common prefixes in one order."""
    found: dict[str, None] = {}
    for key in keys:
        if not key.startswith(prefix) or key.encode() <= after.encode():
            continue
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        common = key if end < 0 else key[: end + len(delimiter)]
        # What `after` names as a common prefix is over with all that lies below it.
        if common != after:
            found[common] = None
    return list(found)


def listed(client: Any, version: int, most: int, **arguments: str) -> list[str]:
    """The entries of all pages, which must be full but for the last."""
    call = client.list_objects_v2 if version == 2 else client.list_objects
    found: list[str] = []
    while True:
        page = call(Bucket="bucket", MaxKeys=most, **arguments)
        entries = [one["Key"] for one in page.get("Contents", ())]
        entries += [one["Prefix"] for one in page.get("CommonPrefixes", ())]
        entries.sort(key=str.encode)
        assert page.get("KeyCount", len(entries)) == len(entries)
        found += entries
        if not page["IsTruncated"]:
            return found
        assert len(entries) == most
        if version == 2:
            arguments["ContinuationToken"] = page["NextContinuationToken"]
        else:
            arguments["Marker"] = page["NextMarker"]


def check_listings_against_a_model() -> str:
    rng = random.Random(7)
    keys = odd_keys(rng, 1500)
    asked = 0
    with Program("sink") as sink:
        client = sink.client()
        for key in rng.sample(keys, len(keys)):
            client.put_object(Bucket="bucket", Key=key, Body=b"")
        assert sink.stats()["objects"] == len(keys)
        for _ in range(150):
            prefix = rng.choice(("", rng.choice(keys)[: rng.randint(0, 5)], rng.choice(ODD)))
            delimiter = rng.choice(("", "/", "/", "a", "//"))
            after = rng.choice(("", "", rng.choice(keys), rng.choice(ODD), prefix + "a"))
            version, most = rng.choice((1, 2)), rng.choice((1, 2, 7, 100, 1000))
            if most < 7 and not prefix:
                most = 100
            given = {"Prefix": prefix, "Delimiter": delimiter, "StartAfter" if version == 2 else "Marker": after}
            found = listed(client, version, most, **{name: value for name, value in given.items() if value})
            assert found == expected_entries(keys, prefix, delimiter, after), (version, most, given)
            asked += 1
        page = client.list_objects_v2(Bucket="bucket", MaxKeys=0)
        assert (page["KeyCount"], page["IsTruncated"]) == (0, False)
        left = _delete_some(client, rng, keys)
        assert listed(client, 2, 1000) == left
    return f"{len(keys)} keys, {asked} listings"


def _delete_some(client: Any, rng: random.Random, keys: list[str]) -> list[str]:
    gone = rng.sample(keys, len(keys) // 2)
    # XML 1.0 has no way to write these, whichever the client.
    posted = [key for key in gone if not set(key) & {"\x01"}][:900]
    for key in set(gone) - set(posted):
        client.delete_object(Bucket="bucket", Key=key)
    answer = client.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": key} for key in posted]})
    assert [one["Key"] for one in answer["Deleted"]] == posted
    return [key for key in keys if key not in set(gone)]


def check_many_keys_in_any_order() -> str:
    """Puts, overwrites and deletions at random over many leaves of the index, then the whole listing."""
    rng = random.Random(3)
    names = [f"{rng.getrandbits(40):x}/{at}" for at in range(60_000)]
    gone = set(rng.sample(names, 40_000))
    steps = [("PUT", name) for name in names] + [("PUT", name) for name in names[:5000]]
    steps += [("DELETE", name) for name in rng.sample(sorted(gone), len(gone))]
    left = sorted(set(names) - gone)
    with Program("sink") as sink:
        client = sink.client()
        for at in range(0, len(steps), 1000):
            some = steps[at : at + 1000]
            requests = "".join(f"{verb} /bucket/{name} HTTP/1.1\r\n\r\n" for verb, name in some)
            assert talk(sink, requests.encode(), answers=1000).count(b"HTTP/1.1 20") == 1000
        assert sink.stats()["objects"] == len(left)
        assert listed(client, 2, 1000) == left
        assert listed(client, 2, 1000, Delimiter="/") == [f"{name.partition('/')[0]}/" for name in left]
        sink.reset()
        assert listed(client, 2, 1000) == []
    return f"{len(steps)} steps, {len(left)} keys left"


def check_listing_without_coded_keys() -> None:
    """As rclone asks for it: the keys are escaped as XML alone."""
    keys = ["a&b", "c<d>", "e'f\"", "g\rh\ni\tj", "k l+m%41", "é"]
    with Program("sink") as sink:
        client = sink.client()
        for key in keys:
            client.put_object(Bucket="bucket", Key=key, Body=b"")
        client.meta.events.register("before-call.s3.ListObjectsV2", _drop_encoding)
        page = client.list_objects_v2(Bucket="bucket")
        assert "EncodingType" not in page
        assert [one["Key"] for one in page["Contents"]] == sorted(keys, key=str.encode)


def _drop_encoding(params: dict[str, Any], **_event: Any) -> None:
    params["url"] = params["url"].replace("encoding-type=url", "")
    params["context"].pop("encoding_type_auto_set", None)


def check_multipart() -> None:
    with Program("sink") as sink:
        client = sink.client(request_checksum_calculation="when_required")
        at = {"Bucket": "bucket", "Key": "big"}
        full = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
        upload = {**at, "UploadId": client.create_multipart_upload(**at, **full, Metadata={"m": "n"})["UploadId"]}
        parts = []
        for number in (3, 1, 2):
            body = bytes([number]) * (1000 * number)
            crc = {"ChecksumCRC64NVME": crc_of(body)}
            wrong = {"ChecksumCRC64NVME": crc_of(b"else")}
            refused(lambda: client.upload_part(**upload, PartNumber=number, Body=body, **wrong), "BadDigest")
            answer = client.upload_part(**upload, PartNumber=number, Body=body, **crc)
            assert answer["ChecksumCRC64NVME"] == crc["ChecksumCRC64NVME"]
            parts.append({"PartNumber": number, "ETag": answer["ETag"], **crc})
        parts.sort(key=lambda part: part["PartNumber"])
        _check_parts(client, upload, parts)
        given = {"ChecksumCRC64NVME": crc_of(b"".join(bytes([n]) * (1000 * n) for n in (1, 2, 3)))}
        _refuse_wrong_lists(client, upload, parts)
        answer = client.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": parts}, **given, ChecksumType="FULL_OBJECT"
        )
        assert answer["ETag"].endswith('-3"')
        assert answer["ChecksumCRC64NVME"] == given["ChecksumCRC64NVME"]
        head = client.head_object(**at, ChecksumMode="ENABLED")
        assert (head["ContentLength"], head["ETag"], head["Metadata"]) == (6000, answer["ETag"], {"m": "n"})
        assert head["ChecksumCRC64NVME"] == given["ChecksumCRC64NVME"]
        refused(lambda: client.list_parts(**upload), "NoSuchUpload")
        _check_aborting(client)


def _check_parts(client: Any, upload: dict[str, str], parts: list[dict[str, Any]]) -> None:
    listing = client.list_parts(**upload)
    assert (listing["ChecksumAlgorithm"], listing["ChecksumType"]) == ("CRC64NVME", "FULL_OBJECT")
    assert [one["Size"] for one in listing["Parts"]] == [1000, 2000, 3000]
    assert [{name: one[name] for name in parts[0]} for one in listing["Parts"]] == parts
    page = client.list_parts(**upload, MaxParts=2)
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == (True, 2)
    page = client.list_parts(**upload, PartNumberMarker=2)
    assert [one["PartNumber"] for one in page["Parts"]] == [3]
    assert not page["IsTruncated"]


def _refuse_wrong_lists(client: Any, upload: dict[str, str], parts: list[dict[str, Any]]) -> None:
    def complete(listed: list[dict[str, Any]]) -> None:
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": listed})

    refused(lambda: complete(parts[::-1]), "InvalidPartOrder")
    refused(lambda: complete([{"PartNumber": 1, "ETag": parts[1]["ETag"]}]), "InvalidPart")
    refused(lambda: complete([*parts, {"PartNumber": 9, "ETag": parts[1]["ETag"]}]), "InvalidPart")
    refused(lambda: complete([]), "MalformedXML")


def _check_aborting(client: Any) -> None:
    keys = sorted(f"up/{at % 5}&é" for at in range(12))
    ids = [client.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"] for key in keys]
    page = client.list_multipart_uploads(Bucket="bucket", Prefix="up/")
    assert [(one["Key"], one["UploadId"]) for one in page["Uploads"]] == list(zip(keys, ids, strict=True))
    found, marker = [], {}
    while True:
        page = client.list_multipart_uploads(Bucket="bucket", MaxUploads=5, **marker)
        found += [one["UploadId"] for one in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert found == ids
    for key, upload_id in zip(keys, ids, strict=True):
        client.abort_multipart_upload(Bucket="bucket", Key=key, UploadId=upload_id)
        refused(
            lambda: client.upload_part(Bucket="bucket", Key=key, UploadId=upload_id, PartNumber=1, Body=b"x"),
            "NoSuchUpload",
        )
    assert "Uploads" not in client.list_multipart_uploads(Bucket="bucket")


def check_statistics() -> None:
    with Program("sink") as sink:
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


def check_obstore() -> None:
    with Program("sink") as sink:
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


def check_probe_of_bulkhaul() -> None:
    """It finds all that it looks for, and leaves nothing behind."""
    sys.path.append(str(BENCHMARKS.parent / "tests"))
    from bulkhaul.s3.location import S3Location
    from bulkhaul.s3.probe import probe
    from s3.reach import connection_to, fixed_source

    with Program("sink") as sink:
        client = sink.client()
        features = probe(
            connection_to(sink.url, S3Location("bucket", "lab/plate"), fixed_source("any", "any")), "token"
        )
        lacking = [name for name, value in features.as_dict().items() if value is False]
        assert not lacking, lacking
        assert not features.leftovers
        assert not features.notes()
        assert sink.stats()["objects"] == 0
        assert "Uploads" not in client.list_multipart_uploads(Bucket="bucket")
