"""Records of several generations and of many threads, merged into one stream by name, whatever their number."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
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
    older = ((_order(record), -1, record) for record in _readable(manifest, note))
    return _latest(heapq.merge(older, newer))


def _readable(manifest: Path, note: Callable[[str], None]) -> Iterator[Record]:
    try:
        yield from read_manifest(manifest)
    except FileNotFoundError:
        return
    except DamagedManifest as error:
        note(f"the earlier manifest counts as absent: {error}")


_Numbered = tuple[bytes, int, Record]


def _in_order(lines: Iterable[bytes], *, folder: Path) -> Iterator[_Numbered]:
    tagged = (b"%b\0%012d\0%b" % (_order_of(line), number, line) for number, line in enumerate(lines))
    in_order = sorted_lines(tagged, folder=folder)
    while batch := [each.split(b"\0", 2) for each in islice(in_order, _AT_ONCE)]:
        records = _decoded([line for _, _, line in batch])
        for (order, number, _), record in zip(batch, records, strict=True):
            if record is not None:
                yield order, int(number), record


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


def _latest(numbered: Iterable[_Numbered]) -> Iterator[Record]:
    held: _Numbered | None = None
    for each in numbered:
        if held is not None and held[0] != each[0]:
            yield held[2]
        held = each
    if held is not None:
        yield held[2]


# The spill takes lines, and a name may hold a newline: bytes up to it are written as two that sort alike.
_LOW = re.compile(rb"[\x01-\x0a]")


def _order(record: Record) -> bytes:
    return _LOW.sub(lambda found: b"\x01" + bytes([found[0][0] + 0x10]), record.order)


_NAME = b'{"name":"'


def _order_of(line: bytes) -> bytes:
    """The order of a record from its line; nothing is parsed as long as the name has no escape."""
    start = len(_NAME)
    name = line[start : line.find(b'"', start)]
    if line.startswith(_NAME) and b"\\" not in name:
        return name
    try:
        return _order(decode(line))
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
