"""The plan: three streams in one order (tree, listing, earlier records) become one decision for each entry (pure).

No clock of ours is compared with a clock of S3's: a file is unchanged when size, mtime and ctime are those of the bytes
that an earlier record tells of, and the object is the same when size and ETag are. Memory holds one entry a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from bulkhaul.errors import BulkhaulError
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.location import S3Location, key_problem
from bulkhaul.sources.tree import Entry, LeftOut, LocalFile, order_key
from bulkhaul.transfer.manifest import Outcome, Record, Verified, failed, skipped
from bulkhaul.transfer.terms import SyncLevel

T = TypeVar("T")


class Upload(NamedTuple):
    """Send the file: nothing is listed under its key, or something of another size."""

    file: LocalFile
    reason: Literal["missing", "other size"]

    @property
    def name(self) -> str:
        """The file's name below the dataset."""
        return self.file.name


class Compare(NamedTuple):
    """Read the file and send it unless the object has the same content; `record` is the earlier one if it agrees."""

    file: LocalFile
    remote: RemoteObject
    record: Record | None = None

    @property
    def name(self) -> str:
        """The file's name below the dataset."""
        return self.file.name


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave the object as it is; `record` goes into the manifest as it is."""

    record: Record
    reason: Literal["unchanged", "same size"]

    @property
    def name(self) -> str:
        """The file's name below the dataset."""
        return self.record.name


@dataclass(frozen=True, slots=True)
class Leave:
    """An entry that is not sent, by policy or because it cannot be; `record` says why.

    `listed`: S3 has an object under its key all the same.
    """

    record: Record
    listed: bool = False

    @property
    def name(self) -> str:
        """The entry's name below the dataset."""
        return self.record.name


@dataclass(frozen=True, slots=True)
class Extra:
    """An object at the target that the source lacks: reported, never deleted."""

    name: str


Decision = Upload | Compare | Skip | Leave | Extra


def plan(
    entries: Iterable[Entry],
    listing: Iterable[RemoteObject],
    earlier: Iterable[Record],
    *,
    location: S3Location,
    sync_level: SyncLevel,
) -> Iterator[Decision]:
    """Yield a decision for each entry and each extra object, in the order of the names' bytes.

    All three streams must come in that order. An entry that the file system gives twice is decided once.

    Raises:
        BulkhaulError: the tree does not come in order.
    """
    cut = len(location.listing_prefix)
    listed = Cursor(listing, listed_order(location))
    known = Cursor(earlier, lambda record: record.order)
    before: bytes | None = None
    for entry in entries:
        here = order_key(entry)
        if before is not None and here <= before:
            if here == before:
                continue
            raise BulkhaulError(entry.name, "the tree does not come in byte order", "report this")
        before = here
        yield from (Extra(remote.key[cut:]) for remote in listed.before(here))
        yield _decide(entry, listed.at(here), known.at(here), location=location, sync_level=sync_level)
    yield from (Extra(remote.key[cut:]) for remote in listed.rest())


def agrees(record: Record, remote: RemoteObject) -> bool:
    """Whether the listed object is the one that the record tells of."""
    return record.in_s3 and (record.size, record.etag) == (remote.size, remote.etag)


def _decide(
    entry: Entry, remote: RemoteObject | None, record: Record | None, *, location: S3Location, sync_level: SyncLevel
) -> Decision:
    if isinstance(entry, LeftOut):
        name = entry.name + "/" if entry.folder else entry.name
        outcome = Outcome.FAILED if entry.failed else Outcome.SKIPPED
        return Leave(Record(name, outcome, entry.reason), listed=remote is not None)
    problem = key_problem(location.key(entry.name))
    if problem is not None:
        return Leave(failed(entry, f"refused: {problem}"), listed=remote is not None)
    if remote is None:
        return Upload(entry, "missing")
    if remote.size != entry.size:
        return Upload(entry, "other size")
    if record is not None and not (record.describes(entry) and agrees(record, remote)):
        record = None
    if sync_level is SyncLevel.SIZE:
        known = record or skipped(entry, "same size", etag=remote.etag, verified=Verified.SIZE)
        return Skip(known, "same size")
    # A record that only ever trusted the size proves nothing at a stricter level.
    if record is not None and record.verified is Verified.SIZE:
        record = None
    if record is not None and sync_level is SyncLevel.DEFAULT:
        return Skip(record, "unchanged")
    return Compare(entry, remote, record)


def listed_order(location: S3Location) -> Callable[[RemoteObject], bytes]:
    """The order of a listing of `location`, as bytes of the names below it, to compare with those of the tree."""
    cut = len(location.listing_prefix)
    return lambda remote: remote.key[cut:].encode("utf-8", "surrogatepass")


class Cursor(Generic[T]):
    """A sorted stream that is read only as far as it is asked for."""

    def __init__(self, items: Iterable[T], order: Callable[[T], bytes]) -> None:
        self._items = iter(items)
        self._order = order
        self._head: tuple[bytes, T] | None = None
        self._advance()

    def before(self, here: bytes) -> Iterator[T]:
        """Yield what sorts before `here`."""
        while self._head is not None and self._head[0] < here:
            yield self._head[1]
            self._advance()

    def at(self, here: bytes) -> T | None:
        """The item at `here`, if there is one; it and all before it are stepped over."""
        while self._head is not None and self._head[0] < here:
            self._advance()
        if self._head is None or self._head[0] != here:
            return None
        item = self._head[1]
        self._advance()
        return item

    def rest(self) -> Iterator[T]:
        """Yield all that is left."""
        while self._head is not None:
            yield self._head[1]
            self._advance()

    def _advance(self) -> None:
        item = next(self._items, _END)
        self._head = None if isinstance(item, _End) else (self._order(item), item)


class _End:
    """What stands behind the last item."""


_END = _End()
