"""The final manifest as a file: gzip of the records' lines, in the order of the names' bytes.

There is no time in it, so equal records make equal bytes, and a run that changed nothing has nothing new to store. It
is replaced whole or not at all, and checked whole before the first record is believed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from bulkhaul.fsio import open_shared, storage_errors, sync_folder
from bulkhaul.transfer.manifest import Record, decode_lines, encode

_BLOCK = 1 << 20
_PIECE = 1 << 16  # of lines that are records at the same time
_LEVEL = 2  # ETags and checksums do not shrink: level 4 makes the file 7 % smaller and takes 60 % longer
_AT_ONCE = 256  # lines: a call of gzip's writer costs as much as packing a line


class DamagedManifest(ValueError):
    """A manifest that cannot be read to its end."""


def read_manifest(path: Path) -> Iterator[Record]:
    """Yield the records of a final manifest in their order; the whole file is checked before the first one.

    Raises:
        DamagedManifest: cut short, not gzip, wrong checksum, not records, or out of order.
        FileNotFoundError: there is none.
    """
    with path.open("rb") as raw:
        try:
            with gzip.open(raw) as whole:
                while whole.read(_BLOCK):
                    pass
        except (OSError, EOFError, zlib.error) as error:
            raise DamagedManifest(f"it is damaged: {error}") from error
        raw.seek(0)
        before = b""
        for record in _records(raw):
            if record.order <= before:
                raise DamagedManifest(f"it is out of order at {record.name!r}")
            before = record.order
            yield record
        if not before:  # gzip takes an empty file, as a full disk leaves it, for an empty manifest
            raise DamagedManifest("it holds no record")


def _records(packed: BinaryIO) -> Iterator[Record]:
    for lines in _whole_lines(packed):
        try:
            yield from decode_lines(lines)
        except ValueError as error:
            raise DamagedManifest(f"it has a line that is no record: {error}") from error


def _whole_lines(packed: BinaryIO) -> Iterator[bytes]:
    rest = b""
    with gzip.open(packed) as file:
        while block := file.read(_PIECE):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            yield lines + newline
    if rest:
        yield rest + b"\n"


def write_manifest(path: Path, records: Iterable[Record], *, before_replace: Callable[[], None]) -> str:
    """Write `records`, which come in order, as the final manifest; whole or not at all. Return its SHA-256 in hex.

    `before_replace` is the last chance to keep the old one: a claim may have been lost while this was written.

    Raises:
        StorageError: the old manifest, if any, is whole.
    """
    private = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.tmp")
    with storage_errors(path):
        try:
            with open(private, "xb", opener=open_shared) as file:
                _write_records(file, records)
                file.flush()
                os.fsync(file.fileno())
            before_replace()
            private.replace(path)
        finally:
            private.unlink(missing_ok=True)
        sync_folder(path.parent)
    return manifest_sha256(path)


def manifest_sha256(path: Path) -> str:
    """The SHA-256 of a manifest as it lies there, in hex.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_records(file: BinaryIO, records: Iterable[Record]) -> None:
    # No name and no time in the header: equal records give equal bytes.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as packed:
        lines = (encode(record) for record in records)
        while batch := list(islice(lines, _AT_ONCE)):
            packed.write(b"\n".join(batch) + b"\n")
