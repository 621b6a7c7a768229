"""Zarr's rule for order (pure): readers take a missing chunk for fill value, so metadata come after what they describe.

Where something below a folder did not arrive, the folder's metadata and those above it are withheld: no array is better
than one that is silently half zero. Metadata that stood over missing files before are marked for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from bulkhaul.transfer.manifest import Outcome, Record
from bulkhaul.transfer.plan import Cursor

METADATA = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
"""The file names that make Zarr readers see an array or a group."""


def is_metadata(name: str) -> bool:
    """Whether the file describes an array or group."""
    return name.rpartition("/")[2] in METADATA


def depth(name: str) -> int:
    """How many folders lie between the dataset's root and the file; the root's own files have 0."""
    return name.count("/")


def folders_above(name: str) -> Iterator[str]:
    """Yield the folders that hold the entry, innermost first, the root as `""`; a folder's own name ends in `/`."""
    while name:
        name = name.rpartition("/")[0]
        yield name


def withholds(record: Record) -> bool:
    """Whether the entry's absence from S3 could be read as fill value; an empty folder cannot."""
    if record.outcome is Outcome.FAILED:
        return True
    return not record.in_s3 and not record.name.endswith("/")


class Withheld:
    """The folders whose metadata must not be sent, each with the first entry that is to blame."""

    def __init__(self) -> None:
        self._blamed: dict[str, str] = {}

    def note(self, record: Record) -> None:
        """Withhold the metadata above `record` if it did not arrive."""
        if withholds(record):
            for folder in folders_above(record.name):
                if folder in self._blamed:
                    return  # and so are all above it
                self._blamed[folder] = record.name

    def reason(self, name: str) -> str | None:
        """Why the metadata file `name` is withheld; None when it may be sent."""
        blamed = self._blamed.get(name.rpartition("/")[0])
        return None if blamed is None else f"withheld: {blamed} did not arrive"


@dataclass(slots=True)
class _Folder:
    path: str
    missing: str = ""
    standing: list[str] = field(default_factory=list)


class StandingMetadata:
    """Sees the plan in order and finds metadata that stood in S3 over files that were missing there.

    `mark` gets a record for each such metadata file, in no order: its name, and in the reason what is to be known.
    """

    def __init__(self, mark: Callable[[Record], None]) -> None:
        self._mark = mark
        self.count = 0
        self.first = ""
        self._open = [_Folder("")]

    def see(self, name: str, *, missing: bool) -> None:
        """Take the next file: was it `missing` in S3 before this transfer?"""
        folder = name.rpartition("/")[0]
        if folder != self._open[-1].path:
            self._enter(folder)
        here = self._open[-1]
        if not is_metadata(name):
            if missing:
                here.missing = here.missing or name
        elif not missing:
            here.standing.append(name)

    def end(self) -> str | None:
        """After the last file: one line about what was found, None when nothing was."""
        while self._open:
            self._leave()
        if not self.count:
            return None
        return (
            f"metadata of {self.count} Zarr folder(s) stood in S3 over missing files, which readers took for fill "
            f"value (first: {self.first!r})"
        )

    def _enter(self, folder: str) -> None:
        while self._open[-1].path and not f"{folder}/".startswith(f"{self._open[-1].path}/"):
            self._leave()
        for path in reversed(list(_up_to(folder, self._open[-1].path))):
            self._open.append(_Folder(path))

    def _leave(self) -> None:
        left = self._open.pop()
        if left.standing and left.missing:
            self.count += 1
            self.first = self.first or left.missing
            for name in left.standing:
                self._mark(Record(name, Outcome.SKIPPED, f"stood over missing files, the first {left.missing!r}"))
        if self._open and left.missing:
            self._open[-1].missing = self._open[-1].missing or left.missing


def marked(records: Iterable[Record], marks: Iterable[Record]) -> Iterator[Record]:
    """Yield `records` with the reasons of `marks` added; both come in the order of the names' bytes.

    A marked record says so in each later manifest too, as long as its file stays what it is.
    """
    found = Cursor(marks, attrgetter("order"))
    for record in records:
        mark = found.at(record.order)
        if mark is None or record.outcome is Outcome.FAILED or mark.reason in record.reason:
            yield record
        else:
            yield record._replace(reason="; ".join(filter(None, (record.reason, mark.reason))))


def _up_to(folder: str, top: str) -> Iterator[str]:
    while folder != top:
        yield folder
        folder = folder.rpartition("/")[0]
