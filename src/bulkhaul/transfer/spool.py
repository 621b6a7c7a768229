"""Scratch files of one run: what is in order already is written once and read back, whatever its number."""

from __future__ import annotations

import json
import marshal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bulkhaul.s3.engine import RemoteObject
from bulkhaul.sources.tree import LocalFile
from bulkhaul.spill import sorted_lines
from bulkhaul.transfer.manifest import Record, decode, encode, from_plain, plain
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.zarr import depth

_BATCH = 256
_LENGTH = 4  # bytes in front of a batch


class Spool:
    """Lines in an unnamed file below `folder`, gone with the process whatever ends it; read after the last write."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self.count = 0

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def write(self, line: bytes) -> None:
        """Add a line, without a newline inside."""
        self._file.write(line + b"\n")
        self.count += 1

    def lines(self) -> Iterator[bytes]:
        """Yield the lines as they were written."""
        self._file.seek(0)
        return (line[:-1] for line in self._file)


class RecordSpool:
    """Records in an unnamed file below `folder`, gone with the process; read after the last was added."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self._batch: list[tuple[object, ...]] = []

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def add(self, record: Record) -> None:
        """Add a record."""
        self._batch.append(plain(record))
        if len(self._batch) >= _BATCH:
            self._write_batch()

    def records(self) -> Iterator[Record]:
        """Yield the records as they were added, from the start each time."""
        self._write_batch()
        self._file.seek(0)
        while length := int.from_bytes(self._file.read(_LENGTH)):
            yield from map(from_plain, marshal.loads(self._file.read(length)))  # noqa: S302 - nobody else can open it

    def _write_batch(self) -> None:
        if self._batch:
            # A fifth of the time that lines of JSON take. `marshal.load` of a file would read it value by value.
            packed = marshal.dumps(self._batch)
            self._file.write(len(packed).to_bytes(_LENGTH) + packed)
            self._batch = []


class DeferredMetadata:
    """Zarr's metadata files of a plan, kept until all they describe has arrived."""

    def __init__(self, spool: Spool, *, folder: Path) -> None:
        self._folder = folder
        self._spool = spool

    @property
    def count(self) -> int:
        """How many there are."""
        return self._spool.count

    def add(self, task: Upload | Compare) -> None:
        """Keep a metadata file for later."""
        # Deepest first; within one depth any order will do.
        self._spool.write(b"%08d" % (10**8 - 1 - depth(task.name)) + encode_task(task))

    def tasks(self) -> Iterator[tuple[int, Upload | Compare]]:
        """Yield each file with its depth, deepest first."""
        for line in sorted_lines(self._spool.lines(), folder=self._folder):
            task = decode_task(line[8:])
            yield depth(task.name), task


def encode_batch(tasks: list[Upload | Compare]) -> bytes:
    """Tasks for this very process to read back: a tenth of the time that JSON takes."""
    return marshal.dumps([_plain(task) for task in tasks])


def decode_batch(data: bytes) -> list[Upload | Compare]:
    """The tasks of `encode_batch`."""
    return [_task(*fields) for fields in marshal.loads(data)]  # noqa: S302 - an unnamed file that nobody else can open


def _plain(task: Upload | Compare) -> tuple[object, ...]:
    if isinstance(task, Upload):
        return tuple(task.file), task.reason
    return tuple(task.file), tuple(task.remote), encode(task.record).decode("ascii") if task.record else None


def _task(file: Any, second: Any, *record: str | None) -> Upload | Compare:
    if not record:
        return Upload(LocalFile(*file), second)
    return Compare(LocalFile(*file), RemoteObject(*second), decode(record[0].encode("ascii")) if record[0] else None)


def encode_task(task: Upload | Compare) -> bytes:
    """The task as one line without its newline."""
    return json.dumps(_plain(task)).encode("ascii")


def decode_task(line: bytes) -> Upload | Compare:
    """The task of a line."""
    return _task(*json.loads(line))
