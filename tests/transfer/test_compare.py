from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from bulkhaul.s3.checksums import crc64nvme, encode_crc64nvme, md5_hex, multipart_etag
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.transfer.compare import Likeness, part_sizes, same_slices
from bulkhaul.transfer.manifest import Verified

MIB = 1 << 20
BODY = random.Random(1).randbytes(20 * MIB + 17)
CRC = encode_crc64nvme(crc64nvme(BODY))


def in_slices(body: bytes, size: int = 3 * MIB + 1) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def etag_in_parts(body: bytes, size: int) -> str:
    return multipart_etag(md5_hex(body[start : start + size]) for start in range(0, len(body), size))


def unasked() -> str | None:
    pytest.fail("a HEAD that was not needed")


def like(etag: str, stored: str | None = None, body: bytes = BODY) -> Likeness | None:
    remote = RemoteObject("k", len(body), etag)
    return same_slices(in_slices(body), remote, part_size=16 * MIB, stored_crc=lambda: stored)


def test_the_files_own_md5_decides_without_a_request() -> None:
    same = RemoteObject("k", len(BODY), md5_hex(BODY))
    assert same_slices(in_slices(BODY), same, part_size=MIB, stored_crc=unasked) == Likeness(Verified.MD5, CRC)


def test_an_etag_that_only_looks_like_an_md5_is_judged_by_the_stored_checksum() -> None:
    """With SSE-KMS it is no digest of the content, and each unchanged file would be sent again."""
    looks_like_md5 = md5_hex(b"encrypted")
    assert like(looks_like_md5, stored=CRC) == Likeness(Verified.CRC64NVME, CRC)
    assert like(looks_like_md5, stored=encode_crc64nvme(1)) is None
    assert like(looks_like_md5, stored=None) is None


@pytest.mark.parametrize("size", [5 * MIB, 8 * MIB, 16 * MIB])
def test_a_multipart_etag_is_matched_by_the_usual_part_sizes(size: int) -> None:
    assert like(etag_in_parts(BODY, size)) == Likeness(Verified.MD5, CRC)


@pytest.mark.parametrize("etag", [md5_hex(BODY), etag_in_parts(BODY, 8 * MIB)])
def test_digests_in_capitals_are_digests(etag: str) -> None:
    assert like(etag.upper()) == Likeness(Verified.MD5, CRC)


def test_parts_of_our_own_odd_size_are_tried_too() -> None:
    remote = RemoteObject("k", len(BODY), etag_in_parts(BODY, 7 * MIB))
    assert same_slices(in_slices(BODY), remote, part_size=7 * MIB, stored_crc=lambda: None) is not None


def test_another_content_under_a_multipart_etag_is_seen() -> None:
    changed = BODY[:-1] + bytes([BODY[-1] ^ 1])
    assert like(etag_in_parts(changed, 16 * MIB)) is None


def test_the_stored_checksum_decides_before_part_sizes_are_guessed() -> None:
    assert like("f" * 32 + "-2", stored=CRC) == Likeness(Verified.CRC64NVME, CRC)
    assert like(etag_in_parts(BODY, 16 * MIB), stored=encode_crc64nvme(1)) is None


@pytest.mark.parametrize("etag", ["opaque", "", "F" * 32, "f" * 31, "f" * 32 + "-999"])
def test_in_doubt_it_is_another_content(etag: str) -> None:
    assert like(etag) is None


def test_only_part_sizes_that_give_the_right_number_are_tried() -> None:
    remote = RemoteObject("k", 20 * MIB, "f" * 32 + "-2")
    assert part_sizes(remote, 11 * MIB) == [size * MIB for size in (11, 10, 15, 16)]


def test_an_empty_file_is_compared_as_any() -> None:
    assert like(md5_hex(b""), body=b"") is not None
