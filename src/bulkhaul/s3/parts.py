"""The parts of one multipart upload: their arithmetic, and one open file of which they are stretches.

A part is read twice, a MiB at a time, first for its checksum and then as it is sent, so that memory stays small however
large parts are. Both readings go through one descriptor: a file that is put in this one's place is never mixed in.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bulkhaul.errors import ObjectRefused, SourceChanged
from bulkhaul.s3.checksums import crc64nvme

LARGEST_OBJECT = 5 * 2**40
"""S3's limit for one object, in bytes."""

MOST_PARTS = 10_000
"""S3's limit for the parts of one upload."""

_SLICE = 2**20


@dataclass(frozen=True, slots=True)
class Span:
    """One part's stretch of the file: number from 1, first byte, length in bytes."""

    number: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Digest:
    """What a stretch holds: its CRC64NVME, and its MD5 in hexadecimal where that was asked for."""

    crc: int
    md5: str | None


def part_size_for(size: int, wanted: int, *, thing: object) -> int:
    """The part size in bytes for a file of `size`: `wanted`, or larger where S3's limits ask for it.

    Raises:
        ObjectRefused: the file is larger than an object may be.
    """
    if size > LARGEST_OBJECT:
        raise ObjectRefused(thing, f"{size:,} bytes, S3 takes 5 TiB in one object", "split the file")
    # Here, not above: it takes a start of 0.3 s a tenth longer, and most datasets have no file so large.
    from s3transfer.utils import ChunksizeAdjuster

    return ChunksizeAdjuster(max_parts=MOST_PARTS).adjust_chunksize(wanted, size)


def spans_of(size: int, part_size: int) -> list[Span]:
    """The stretches that make up `size` bytes, in order; all of `part_size` bytes but the last."""
    starts = range(0, size, part_size) or [0]  # an empty object has one empty part
    return [Span(number, start, min(part_size, size - start)) for number, start in enumerate(starts, 1)]


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file that is open for reading, and its version when it was opened; safe from many threads."""

    fd: int
    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    def digest(self, span: Span, *, md5: bool, gate: Callable[[], None]) -> Digest:
        """What `span` holds now.

        Raises:
            SourceChanged: the file has become shorter.
            OSError: it cannot be read.
        """
        crc = 0
        hashed = hashlib.md5(usedforsecurity=False)
        for offset in range(0, span.length, _SLICE):
            gate()
            data = self.read(span, offset, _SLICE)
            crc = crc64nvme(data, crc)
            if md5:
                hashed.update(data)
        return Digest(crc, hashed.hexdigest() if md5 else None)

    def read(self, span: Span, offset: int, most: int) -> bytes:
        """Up to `most` bytes from `offset` within `span`, all of them unless the span ends before.

        Raises:
            SourceChanged: the file has become shorter.
            OSError: it cannot be read.
        """
        left = min(most, span.length - offset)
        pieces = []
        while left > 0:
            data = os.pread(self.fd, left, span.start + offset)
            if not data:
                raise self._changed()
            pieces.append(data)
            left -= len(data)
            offset += len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def check_unchanged(self) -> None:
        """Return when the file is still the version that was opened.

        Raises:
            SourceChanged: it was written to.
        """
        found = os.fstat(self.fd)
        now = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        if now != (self.size, self.mtime_ns, self.ctime_ns, self.inode):
            raise self._changed()

    def _changed(self) -> SourceChanged:
        return SourceChanged(self.path, "changed while it was read", "run again when nothing writes to it")


class PartBody:
    """A part as the body of a request: read a slice at a time, from its beginning again when the client rewinds it.

    botocore takes what a body raises for a fault of the network, so `error` keeps it for whoever made the request.
    """

    def __init__(self, file: OpenFile, span: Span) -> None:
        self.error: Exception | None = None
        self._file = file
        self._span = span
        self._position = 0

    def __len__(self) -> int:
        return self._span.length

    def read(self, most: int | None = None) -> bytes:
        """The next `most` bytes, all that are left when it is None or negative."""
        left = self._span.length - self._position
        try:
            data = self._file.read(self._span, self._position, left if most is None or most < 0 else most)
        except Exception as error:
            self.error = error
            raise
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place within the part; return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._span.length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The place within the part."""
        return self._position
