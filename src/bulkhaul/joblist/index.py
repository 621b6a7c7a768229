"""A snapshot of all standings, so that 200 idle workers read one small file each and not 10^5 job files each.

It is a hint, replaced by rename. One elected worker (whoever gets the scan lock) refreshes it. `serial` counts the
scans: after two more have ended, the second began after the question was asked.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bulkhaul.errors import StorageError
from bulkhaul.fsio import replace_file, storage_errors
from bulkhaul.joblist.job import CLAIMABLE, JobView, Standing, Status
from bulkhaul.joblist.locks import Lock
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.rewriting import repair
from bulkhaul.joblist.views import Dead, job_versions, view_all

_log = logging.getLogger(__name__)


class Row(NamedTuple):
    """One job in the index; inode and ctime are the version of the job file that was read, 0 where none could be."""

    name: str
    standing: Standing
    status: Status | None
    generation: int
    inode: int
    ctime_ns: int


class Offer(NamedTuple):
    """A job that seems free, and the newest number of its ledger when that was seen."""

    name: str
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Index:
    """All jobs sorted by name, as the scan number `serial` saw them; the scan took `took` seconds."""

    serial: int
    took: float
    rows: tuple[Row, ...]

    def claimable(self) -> list[Offer]:
        """The jobs that a worker may try, sorted by name."""
        return [Offer(row.name, row.generation) for row in self.rows if row.standing in CLAIMABLE]


def read_index(paths: JoblistPaths) -> Index | None:
    """The present index, None when there is none that can be read."""
    try:
        with storage_errors(paths.index):
            values = json.loads(paths.index.read_bytes())
        rows = tuple(_row(*fields) for fields in values["jobs"])
        serial, took = values["serial"], float(values["took"])
    except (StorageError, ValueError, KeyError, TypeError, OverflowError):
        return None
    # NaN and infinity are JSON to Python; either would make somebody wait for ever.
    return Index(serial, took, rows) if type(serial) is int and 0 <= took < float("inf") else None


_STANDINGS = {standing.value: standing for standing in Standing}
_STATUSES: dict[str | None, Status | None] = {None: None, **{status.value: status for status in Status}}


def _row(name: str, standing: str, status: str | None, generation: int, inode: int, ctime_ns: int) -> Row:
    # Each on its own, not in a loop: there are 10^5 rows.
    if not (type(name) is str and type(generation) is int and type(inode) is int and type(ctime_ns) is int):
        raise TypeError(name)
    return Row(name, _STANDINGS[standing], _STATUSES[status], generation, inode, ctime_ns)


def settled(paths: JoblistPaths, index: Index) -> tuple[Counter[Status], list[str]]:
    """How many jobs stand for certain as the index says, by status, and the names of all others, sorted.

    Certain is a `todo` or `success` whose job file is the one that the scan read: no file is opened for it. A claim of
    such a job is seen as soon as line 1 shows it. What is owned, or needs a person, is always looked at again.

    Raises:
        StorageError: the joblist cannot be listed.
    """
    versions = job_versions(paths)
    todo = success = 0
    for name, standing, status, _, inode, ctime_ns in index.rows:
        free = standing is Standing.FREE
        if (free or status is Status.SUCCESS) and versions.get(name) == (inode, ctime_ns):
            del versions[name]
            if free:
                todo += 1
            else:
                success += 1
    return Counter({Status.TODO: todo, Status.SUCCESS: success}), sorted(versions)


def index_version(paths: JoblistPaths) -> tuple[int, int]:
    """What changes whenever the index is replaced; (0, 0): there is none."""
    try:
        status = paths.index.stat()
    except OSError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


def scan_views(paths: JoblistPaths, lock: Lock, *, dead: Dead) -> Iterator[JobView]:
    """All jobs as they stand; first lines that lag are brought to what the ledger says."""
    return repaired(paths, lock, view_all(paths, dead=dead), dead=dead)


def repaired(paths: JoblistPaths, lock: Lock, views: Iterable[JobView], *, dead: Dead) -> Iterator[JobView]:
    """`views` as they are, while first lines that lag are brought to what the ledger says.

    Raises:
        StorageError: the file system cannot be read. A repair that fails is left to the next scan.
    """
    for view in views:
        if view.ought is not None:
            try:
                repair(paths, lock, view.name, dead=dead)
            except StorageError as error:
                _log.debug("not repaired: %s", error)
        yield view


class Scan:
    """The rows of a scan that has begun, one for each view that it is shown; `store` makes them the index."""

    def __init__(self, paths: JoblistPaths, *, clock: Callable[[], float] = time.monotonic) -> None:
        before = read_index(paths)
        self._paths = paths
        self._serial = 1 if before is None else before.serial + 1
        self._clock = clock
        self._began = clock()
        self._rows: list[Row] = []

    def add(self, view: JobView) -> None:
        """Take down the next job, in the order of the names."""
        generation = 0 if view.record is None else view.record.generation
        self._rows.append(Row(view.name, view.standing, view.status, generation, *(view.version or (0, 0))))

    def store(self) -> Index:
        """The index after the last job; it is stored unless that fails or a later one stands there."""
        index = Index(self._serial, self._clock() - self._began, tuple(self._rows))
        present = read_index(self._paths)
        # Who was stopped in the middle comes late: a serial that falls makes scans of before a question look later.
        if present is None or present.serial <= index.serial:
            store_index(self._paths, index)
        return index


def refresh_index(
    paths: JoblistPaths, views: Iterable[JobView], *, clock: Callable[[], float] = time.monotonic
) -> Index:
    """Run `views` to their end and make them the index."""
    scan = Scan(paths, clock=clock)
    for view in views:
        scan.add(view)
    return scan.store()


def store_index(paths: JoblistPaths, index: Index) -> None:
    """Replace the index file; a failure is only noted, since the index is a hint."""
    values = {"serial": index.serial, "took": index.took, "jobs": index.rows}
    try:
        replace_file(paths.index, json.dumps(values).encode("ascii"))
    except StorageError as error:
        _log.debug("index not stored: %s", error)
