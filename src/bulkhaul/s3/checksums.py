"""CRC64NVME and MD5 as S3 writes them: the checksum that travels with each object, the ETags to compare with (pure)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from anycrc import Model

Buffer = bytes | bytearray | memoryview

MD5_STEP = "check this machine's memory and network; the object that stands there is damaged"
"""What to do where an ETag that has to prove what arrived is not the MD5 of what was sent."""

_CRC64NVME = Model("CRC64-NVME")

# The interpreter is held meanwhile: a twentieth of a millisecond for this many bytes, then others have their turn.
_AT_ONCE = 1 << 20


def crc64nvme(data: Buffer, previous: int = 0) -> int:
    """The CRC64NVME of `data`, going on from `previous`, the value of the bytes before it."""
    if len(data) <= _AT_ONCE:
        return int(_CRC64NVME.calc(data, previous))
    view = memoryview(data)
    for start in range(0, len(view), _AT_ONCE):
        previous = _CRC64NVME.calc(view[start : start + _AT_ONCE], previous)
    return int(previous)


def combine_crc64nvme(first: int, second: int, *, second_bytes: int) -> int:
    """The CRC64NVME of two stretches from their own values; `second_bytes` is the second one's length."""
    return int(_CRC64NVME.combine(first, second, second_bytes))


def encode_crc64nvme(value: int) -> str:
    """A CRC64NVME as S3 writes it: eight bytes, big-endian, in base64."""
    return base64.b64encode(value.to_bytes(8, "big")).decode("ascii")


def decode_crc64nvme(text: str) -> int:
    """The value of S3's base64 form.

    Raises:
        ValueError: not eight bytes in base64.
    """
    raw = base64.b64decode(text, validate=True)
    if len(raw) != 8:
        raise ValueError(f"not a CRC64NVME: {text!r}")
    return int.from_bytes(raw, "big")


def md5_hex(data: Buffer) -> str:
    """The MD5 of `data` in hexadecimal: the ETag of an object that was put in one piece without KMS."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def multipart_etag(part_md5s: Iterable[str]) -> str:
    """The ETag of a multipart object from its parts' MD5s in hexadecimal, in order: MD5 of MD5s, `-`, their number."""
    digests = [bytes.fromhex(md5) for md5 in part_md5s]
    return f"{md5_hex(b''.join(digests))}-{len(digests)}"
