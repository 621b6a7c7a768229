"""Records of several generations and of many threads, merged into one stream by name, whatever their number."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bulkhaul.fsio import storage_errors
from bulkhaul.spill import sorted_lines
from bulkhaul.transfer.manifest import DamagedManifest, Record, decode, encode, read_manifest


def read_partial(path: Path, *, start: int = 0, end: int | None = None) -> Iterator[Record]:
    """Yield the records of a partial manifest from byte `start` up to `end` as they came; none if it is missing."""
    for line in whole_lines(path, start, end):
        if line.startswith(b'{"name"'):
            try:
                yield decode(line)
            except ValueError:
                continue


def sorted_records(parts: Iterable[Iterable[Record]], *, folder: Path) -> Iterator[Record]:
    """Yield the records of `parts` by name; where a name comes more than once the last one counts.

    Memory holds one run of `spill`; the rest lies in unnamed files below `folder`.
    """
    return _latest(_in_order(parts, folder=folder))


def earlier_records(
    manifest: Path, partials: Iterable[Path], *, folder: Path, note: Callable[[str], None]
) -> Iterator[Record]:
    """Yield what earlier generations knew, by name: the last final manifest, and over it the partial ones in turn.

    A damaged final manifest counts as absent from where it cannot be read; `note` hears of it.
    """
    newer = _in_order((read_partial(path) for path in partials), folder=folder)
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


def _in_order(parts: Iterable[Iterable[Record]], *, folder: Path) -> Iterator[_Numbered]:
    tagged = (
        b"%b\0%012d\0%b" % (_order(record), number, encode(record))
        for number, record in enumerate(record for part in parts for record in part)
    )
    for line in sorted_lines(tagged, folder=folder):
        order, number, record = line.split(b"\0", 2)
        yield order, int(number), decode(record)


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
