"""Records of several generations and of many threads, merged into one stream by name, whatever their number."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from pathlib import Path

from bulkhaul.fsio import storage_errors
from bulkhaul.spill import sorted_lines
from bulkhaul.transfer.manifest import Record, decode, decode_lines, encode
from bulkhaul.transfer.manifest_file import DamagedManifest, read_manifest

_AT_ONCE = 256  # lines


def read_partial(path: Path, *, start: int = 0, end: int | None = None) -> Iterator[Record]:
    """Yield the records of a partial manifest from byte `start` up to `end` as they came; none if it is missing."""
    for line in _record_lines(path, start, end):
        if (record := _record_of(line)) is not None:
            yield record


def holds_records(path: Path) -> bool:
    """Whether a partial manifest tells of any entry."""
    return next(_record_lines(path), None) is not None


def sorted_partial(path: Path, *, start: int, end: int, folder: Path) -> Iterator[Record]:
    """Yield the same by name; where a name comes more than once the last one counts."""
    return _latest(_in_order(_record_lines(path, start, end), folder=folder))


def sorted_records(parts: Iterable[Iterable[Record]], *, folder: Path) -> Iterator[Record]:
    """Yield the records of `parts` by name; where a name comes more than once the last one counts.

    Memory holds one run of `spill`; the rest lies in unnamed files below `folder`.
    """
    return _latest(_in_order((encode(record) for part in parts for record in part), folder=folder))


def earlier_records(
    manifest: Path, partials: Sequence[Path], *, folder: Path, note: Callable[[str], None]
) -> Iterator[Record]:
    """Yield what earlier generations knew, by name: the last final manifest, and over it the partial ones in turn.

    A damaged final manifest counts as absent from where it cannot be read; `note` hears of it.
    """
    if not partials:  # as after a success
        return _readable(manifest, note)
    newer = _in_order((line for path in partials for line in _record_lines(path)), folder=folder)
    return _latest(heapq.merge(_readable(manifest, note), newer, key=attrgetter("order")))


def _readable(manifest: Path, note: Callable[[str], None]) -> Iterator[Record]:
    try:
        yield from read_manifest(manifest)
    except FileNotFoundError:
        return
    except DamagedManifest as error:
        note(f"the earlier manifest counts as absent: {error}")


def _in_order(lines: Iterable[bytes], *, folder: Path) -> Iterator[Record]:
    in_order = sorted_lines(lines, folder=folder, key=_order_of)
    while batch := [*islice(in_order, _AT_ONCE)]:
        yield from (record for record in _decoded(batch) if record is not None)


def _decoded(lines: list[bytes]) -> list[Record | None]:
    """The record of each line; None of one that was torn by a crash."""
    try:
        return [*decode_lines(b"\n".join(lines) + b"\n")]
    except ValueError:
        return [_record_of(line) for line in lines]


def _record_of(line: bytes) -> Record | None:
    try:
        return decode(line)
    except ValueError:
        return None


def _latest(records: Iterable[Record]) -> Iterator[Record]:
    held: Record | None = None
    for record in records:
        if held is not None and held.name != record.name:
            yield held
        held = record
    if held is not None:
        yield held


_NAME = re.compile(rb'\{"name":"([^"\\]*)"')


def _order_of(line: bytes) -> bytes:
    """The order of a record from its line; nothing is parsed as long as the name has no escape."""
    if plain := _NAME.match(line):
        return plain[1]
    try:
        return decode(line).order
    except ValueError:
        return b""


def _record_lines(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    return (line[:-1] for line in whole_lines(path, start, end) if line.startswith(b'{"name"'))


def whole_lines(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield the whole lines of a partial manifest from byte `start` up to `end`; none if it is missing.

    Raises:
        StorageError: it cannot be read.
    """
    if not path.exists():
        return
    with storage_errors(path), path.open("rb") as file:
        file.seek(start)
        here = start
        for line in file:
            here += len(line)
            if not line.endswith(b"\n") or (end is not None and here > end):
                return
            yield line
