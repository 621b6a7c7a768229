"""With `--md5` the sink's ETags are those of S3: the MD5 of what was put, and of an upload that of its parts' MD5s."""

from __future__ import annotations

import hashlib
import random
from base64 import b64encode
from collections.abc import Iterator

import pytest

from benchmarks.running import Program, refused
from benchmarks.wire import chunked, crc_of, put, talk

# Around a block of 64 bytes and the last 8 of it, which hold the length; and more than the sink takes at once.
SIZES = (*range(130), 16 << 10, (16 << 10) + 1, (1 << 20) + 57)


@pytest.fixture
def digesting(compiled: None) -> Iterator[Program]:
    """A sink that digests what is put, with a bucket."""
    with Program("sink", "--md5") as server:
        server.client()
        yield server


def bodies() -> dict[str, bytes]:
    rng = random.Random(1)
    return {f"{size:07}": rng.randbytes(size) for size in SIZES}


def etags(server: Program) -> dict[str, str]:
    """The ETags as a listing shows them."""
    page = server.client().list_objects_v2(Bucket="bucket")
    return {one["Key"]: one["ETag"] for one in page["Contents"]}


def md5_of(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def test_the_etag_is_the_md5_in_the_answer_the_head_and_the_listing(digesting: Program) -> None:
    client = digesting.client(request_checksum_calculation="when_required")
    sent = bodies()
    expected = {key: md5_of(body) for key, body in sent.items()}
    assert {
        key: client.put_object(Bucket="bucket", Key=key, Body=body)["ETag"] for key, body in sent.items()
    } == expected
    assert {key: client.head_object(Bucket="bucket", Key=key)["ETag"] for key in sent} == expected
    assert etags(digesting) == expected


@pytest.mark.parametrize("piece", [1, 7, 63, 64, 65, 1001])
def test_a_body_in_odd_pieces_on_one_connection_is_digested_as_one(digesting: Program, piece: int) -> None:
    sent = {key: body for key, body in bodies().items() if len(body) in (0, 1, 55, 56, 64, 129)}
    requests = b"".join(put(key, body, f"Content-Length: {len(body)}") for key, body in sent.items())
    assert talk(digesting, requests, answers=len(sent), piece=piece).count(b"HTTP/1.1 200 OK") == len(sent)
    assert etags(digesting) == {key: md5_of(body) for key, body in sent.items()}


def test_the_framing_of_a_body_is_not_digested(digesting: Program) -> None:
    body = random.Random(2).randbytes(5000)
    inner = chunked(body, 700, trailers=(f"x-amz-checksum-crc64nvme:{crc_of(body)}",))
    aws = ("Content-Encoding: aws-chunked", "x-amz-trailer: x-amz-checksum-crc64nvme")
    told = (*aws, f"Content-Length: {len(inner)}", "x-amz-decoded-content-length: 5000")
    requests = {
        "chunked": put("chunked", chunked(body, 1500), "Transfer-Encoding: chunked"),
        "aws": put("aws", inner, *told),
        "aws-in-chunks": put("aws-in-chunks", chunked(inner, 333), *aws, "Transfer-Encoding: chunked"),
    }
    for request in requests.values():
        assert md5_of(body).encode() in talk(digesting, request, piece=777)
    assert etags(digesting) == dict.fromkeys(requests, md5_of(body))


def test_a_body_that_is_not_what_its_content_md5_says_is_refused(digesting: Program) -> None:
    client = digesting.client(request_checksum_calculation="when_required")
    at = {"Bucket": "bucket", "Key": "a", "ContentMD5": b64encode(hashlib.md5(b"hello").digest()).decode()}
    with refused("BadDigest"):
        client.put_object(**at, Body=b"olleh")
    with refused("BadDigest"):
        client.put_object(**at | {"ContentMD5": "no"}, Body=b"hello")
    assert client.put_object(**at, Body=b"hello")["ETag"] == md5_of(b"hello")


def test_an_upload_of_parts_has_the_md5_of_their_md5s(digesting: Program) -> None:
    client = digesting.client(request_checksum_calculation="when_required")
    at = {"Bucket": "bucket", "Key": "big"}
    upload = {**at, "UploadId": client.create_multipart_upload(**at)["UploadId"]}
    sent = {number: random.Random(number).randbytes(1000 * number) for number in (1, 2, 5)}
    parts = [
        {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in sent.items()
    ]
    assert [part["ETag"] for part in parts] == [md5_of(body) for body in sent.values()]
    whole = md5_of(b"".join(hashlib.md5(body).digest() for body in sent.values()))[:-1] + '-3"'
    assert client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})["ETag"] == whole
    assert etags(digesting) == {"big": whole}
