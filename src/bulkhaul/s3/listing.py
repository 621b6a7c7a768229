"""The objects below a location in byte order, the order of the merge joins above: streamed and checked, or sorted.

S3 lists in the order of the keys' UTF-8 bytes; some servers do not. The order is checked while it streams; where it
breaks, the caller throws away what it made of the stream and lists again through the spill.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bulkhaul.errors import ListingOutOfOrder
from bulkhaul.s3.engine import Engine, RemoteObject, Repeat, once
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.ranges import list_ranges
from bulkhaul.spill import sorted_lines


def list_ordered(
    engine: Engine, location: S3Location, *, cuts: Sequence[str] = (), repeat: Repeat = once
) -> Iterator[RemoteObject]:
    """Yield the objects below `location`, each key once and in byte order, as they come.

    Ranges between `cuts`, keys in byte order, are listed several at a time.

    Raises:
        ListingOutOfOrder: the server lists in another order; what was yielded is void, use `list_spilled`.
        S3Error: what `repeat` could not cure.
    """
    last = ""  # strings compare by code point, which is the order of their UTF-8
    for found in list_ranges(engine, location.listing_prefix, cuts, repeat=repeat):
        if found.key <= last:
            raise ListingOutOfOrder(
                location, "the server does not list in byte order", "list it through a sorted spill"
            )
        last = found.key
        yield found


def list_spilled(
    engine: Engine, location: S3Location, *, folder: Path, repeat: Repeat = once
) -> Iterator[RemoteObject]:
    """Yield the same from a server that lists in any order, after the whole listing has been sorted below `folder`.

    Where a key comes twice, since the object was written in mid-listing, the later one counts.

    Raises:
        S3Error: what `repeat` could not cure, before anything is yielded.
        OSError: no room in `folder`.
    """
    listing = engine.list_objects(location.listing_prefix, repeat=repeat)
    held: RemoteObject | None = None
    for line in sorted_lines((_line(found, place) for place, found in enumerate(listing)), folder=folder):
        found = _parse_line(line)
        if held is not None and held.key != found.key:
            yield held
        held = found
    if held is not None:
        yield held


# A line ends at a newline and its fields at a NUL: low bytes of a key become two bytes that sort as they did.
_LOW = re.compile(rb"[\x00-\x0a]")
_ESCAPED = re.compile(rb"\x01(.)", re.DOTALL)


def _line(found: RemoteObject, place: int) -> bytes:
    key = _LOW.sub(lambda low: b"\x01" + bytes([low[0][0] + 0x10]), found.key.encode("utf-8", "surrogatepass"))
    return b"%b\0%015d\0%d\0%b" % (key, place, found.size, found.etag.encode())


def _parse_line(line: bytes) -> RemoteObject:
    key, _place, size, etag = line.split(b"\0", 3)
    plain = _ESCAPED.sub(lambda escaped: bytes([escaped[1][0] - 0x10]), key)
    return RemoteObject(plain.decode("utf-8", "surrogatepass"), int(size), etag.decode())
