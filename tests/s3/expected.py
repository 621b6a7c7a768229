"""What S3 says of a large object, worked out without the code under test."""

from __future__ import annotations

import hashlib

from bulkhaul.s3.checksums import crc64nvme, encode_crc64nvme
from s3.large import PART

KEY = "lab/large"


def etag_of(data: bytes, part_size: int = PART) -> str:
    """The ETag that S3 gives to `data` in such parts; worked out without the code under test."""
    pieces = [data[start : start + part_size] for start in range(0, len(data), part_size)]
    md5s = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    return f"{hashlib.md5(md5s).hexdigest()}-{len(pieces)}"


def crc(data: bytes) -> str:
    """The CRC64NVME of `data` as S3 writes it."""
    return encode_crc64nvme(crc64nvme(data))
