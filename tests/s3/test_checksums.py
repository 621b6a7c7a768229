"""CRC64NVME and ETags agree with published values, with themselves in pieces, and with a real server."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.s3.checksums import (
    combine_crc64nvme,
    crc64nvme,
    decode_crc64nvme,
    encode_crc64nvme,
    md5_hex,
    multipart_etag,
)
from servers.seaweed import Seaweed


def _reference_crc64nvme(data: bytes) -> int:
    """Bit by bit from the polynomial in the NVM Express specification, reflected."""
    register = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x9A6C9329AC4BC9B5 if register & 1 else 0)
    return register ^ 0xFFFFFFFFFFFFFFFF


def test_the_check_value_of_the_standard() -> None:
    assert crc64nvme(b"123456789") == 0xAE8B14860A799888
    assert encode_crc64nvme(0xAE8B14860A799888) == "rosUhgp5mIg="


@given(st.binary(max_size=300))
def test_the_value_is_that_of_the_polynomial(data: bytes) -> None:
    assert crc64nvme(data) == _reference_crc64nvme(data)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_pieces_give_the_value_of_the_whole(first: bytes, second: bytes) -> None:
    whole = crc64nvme(first + second)

    assert crc64nvme(memoryview(second), crc64nvme(bytearray(first))) == whole
    assert combine_crc64nvme(crc64nvme(first), crc64nvme(second), second_bytes=len(second)) == whole


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, (3 << 20) - 5])
def test_a_long_stretch_has_the_value_of_its_bytes(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    pieces = [crc64nvme(data[start : min(start + 99_991, size)]) for start in range(0, size, 99_991)]
    whole = pieces[0]
    for number, piece in enumerate(pieces[1:], 1):
        whole = combine_crc64nvme(whole, piece, second_bytes=min(99_991, size - number * 99_991))

    assert crc64nvme(memoryview(data)[:size]) == whole


@given(st.integers(0, 2**64 - 1))
def test_s3s_form_is_read_back(value: int) -> None:
    assert decode_crc64nvme(encode_crc64nvme(value)) == value


@pytest.mark.parametrize("text", ["", "AAAA", "!!!", "rosUhgp5mIg", "rosUhgp5mIgA"])
def test_text_that_is_no_checksum_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_crc64nvme(text)


def test_a_real_server_computes_the_same_etags_and_checksums(s3_server: Seaweed, bucket: str) -> None:
    parts = [b"a" * (5 << 20), b"tail"]
    sums = [encode_crc64nvme(crc64nvme(part)) for part in parts]
    client = s3_server.client()
    single = client.put_object(Bucket=bucket, Key="single", Body=parts[0], ChecksumCRC64NVME=sums[0])
    begun = client.create_multipart_upload(
        Bucket=bucket, Key="large", ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
    )
    upload = {"Bucket": bucket, "Key": "large", "UploadId": begun["UploadId"]}
    sent = [
        client.upload_part(**upload, PartNumber=i, Body=part, ChecksumCRC64NVME=value)
        for i, (part, value) in enumerate(zip(parts, sums, strict=True), 1)
    ]
    listed = [{"PartNumber": i, "ETag": one["ETag"]} for i, one in enumerate(sent, 1)]
    done = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": listed}, ChecksumType="FULL_OBJECT")
    head = client.head_object(Bucket=bucket, Key="large", ChecksumMode="ENABLED")

    assert single["ETag"].strip('"') == md5_hex(parts[0])
    assert single["ChecksumCRC64NVME"] == sums[0]
    assert done["ETag"].strip('"') == multipart_etag(md5_hex(part) for part in parts)
    assert head["ChecksumCRC64NVME"] == encode_crc64nvme(crc64nvme(b"".join(parts)))
    with pytest.raises(ClientError, match=r"BadDigest|Checksum"):  # the server's own sum of the bytes is another
        client.put_object(Bucket=bucket, Key="damaged", Body=parts[1], ChecksumCRC64NVME=sums[0])
