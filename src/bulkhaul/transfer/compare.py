"""Is an object's content the file's? By its ETag where that is an MD5, else by the checksum that S3 stored with it.

Each way proves equality; none proves a difference (an ETag may be no digest at all), so in doubt the file is sent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bulkhaul.s3.checksums import crc64nvme, encode_crc64nvme, multipart_etag
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.transfer.manifest import Verified

_MIB = 1 << 20
_MULTIPART = re.compile(r"[0-9a-f]{32}-([0-9]+)")
_USUAL_PARTS = (5, 8, 10, 15, 16, 25, 32, 50, 64, 100, 128, 256, 512)  # MiB; those of common tools


@dataclass(frozen=True, slots=True)
class Likeness:
    """How a file and an object were found to be the same, and the file's own checksum in S3's form."""

    verified: Verified
    crc64nvme: str


def same_slices(
    data: Iterable[bytes],
    remote: RemoteObject,
    *,
    part_size: int,
    stored_crc: Callable[[], str | None],
) -> Likeness | None:
    """Compare a large file, read once in slices, with an object of the same size; None unless they are the same.

    `part_size` in bytes is our own; `stored_crc` asks S3 for the CRC64NVME of the whole object, and is asked only where
    the ETag is not the file's MD5.
    """
    remote = remote._replace(etag=remote.etag.lower())  # some servers write digests in capitals
    if _is_md5(remote.etag):
        md5 = hashlib.md5(usedforsecurity=False)
        crc = _fold(data, (md5.update,))
        if md5.hexdigest() == remote.etag:
            return Likeness(Verified.MD5, crc)
        # With SSE-KMS the ETag only looks like an MD5.
        return Likeness(Verified.CRC64NVME, crc) if crc == stored_crc() else None
    stored = stored_crc()
    if stored is not None:
        crc = digest(data)
        return Likeness(Verified.CRC64NVME, crc) if crc == stored else None
    guesses = [_PartDigests(size) for size in part_sizes(remote, part_size)]
    if not guesses:
        return None
    crc = _fold(data, [guess.update for guess in guesses])
    same = any(guess.etag() == remote.etag for guess in guesses)
    return Likeness(Verified.MD5, crc) if same else None


def part_sizes(remote: RemoteObject, own: int) -> list[int]:
    """The part sizes in bytes that would give the object's number of parts, our own first."""
    found = _MULTIPART.fullmatch(remote.etag)
    if found is None:
        return []
    parts = int(found[1])
    sizes = dict.fromkeys([own, *(size * _MIB for size in _USUAL_PARTS)])
    return [size for size in sizes if -(-remote.size // size) == parts]


def digest(data: Iterable[bytes]) -> str:
    """The CRC64NVME of the whole in S3's form."""
    return _fold(data, ())


def _is_md5(etag: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", etag) is not None


def _fold(data: Iterable[bytes], updates: Iterable[Callable[[bytes], None]]) -> str:
    crc = 0
    updates = tuple(updates)
    for piece in data:
        crc = crc64nvme(piece, crc)
        for update in updates:
            update(piece)
    return encode_crc64nvme(crc)


class _PartDigests:
    """The multipart ETag that the bytes would have in parts of one size."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._done: list[str] = []
        self._part = hashlib.md5(usedforsecurity=False)
        self._filled = 0

    def update(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            piece = view[: self._size - self._filled]
            self._part.update(piece)
            self._filled += len(piece)
            view = view[len(piece) :]
            if self._filled == self._size:
                self._end_part()

    def etag(self) -> str:
        if self._filled:
            self._end_part()
        return multipart_etag(self._done)

    def _end_part(self) -> None:
        self._done.append(self._part.hexdigest())
        self._part = hashlib.md5(usedforsecurity=False)
        self._filled = 0
