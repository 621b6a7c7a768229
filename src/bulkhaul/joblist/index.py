"""A snapshot of all standings, so that 200 idle workers read one small file each and not 10^5 job files each.

It is a hint, replaced by rename. One elected worker (whoever gets the scan lock) refreshes it. `serial` counts the
scans: after two more have ended, the second began after the question was asked.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bulkhaul.errors import StorageError
from bulkhaul.fsio import replace_file, storage_errors
from bulkhaul.joblist.job import JobView, Standing, Status
from bulkhaul.joblist.locks import Lock
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.rewriting import repair
from bulkhaul.joblist.views import Dead, view_all

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """One job in the index."""

    name: str
    standing: Standing
    status: Status | None
    generation: int


@dataclass(frozen=True, slots=True)
class Index:
    """All jobs sorted by name, as the scan number `serial` saw them; the scan took `took` seconds."""

    serial: int
    took: float
    rows: tuple[Row, ...]


def read_index(paths: JoblistPaths) -> Index | None:
    """The present index, None when there is none that can be read."""
    try:
        with storage_errors(paths.index):
            values = json.loads(paths.index.read_bytes())
        rows = tuple(_row(*fields) for fields in values["jobs"])
        return Index(values["serial"], values["took"], rows)
    except (StorageError, ValueError, KeyError, TypeError):
        return None


def _row(name: str, standing: str, status: str | None, generation: int) -> Row:
    return Row(name, Standing(standing), None if status is None else Status(status), generation)


def index_version(paths: JoblistPaths) -> tuple[int, int]:
    """What changes whenever the index is replaced; (0, 0): there is none."""
    try:
        status = paths.index.stat()
    except OSError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


def scan_views(paths: JoblistPaths, lock: Lock, *, dead: Dead) -> Iterator[JobView]:
    """All jobs as they stand; first lines that lag are brought to what the ledger says.

    Raises:
        StorageError: the file system cannot be read. A repair that fails is left to the next scan.
    """
    for view in view_all(paths, dead=dead):
        if view.ought is not None:
            try:
                repair(paths, lock, view.name, dead=dead)
            except StorageError as error:
                _log.debug("not repaired: %s", error)
        yield view


def refresh_index(
    paths: JoblistPaths, views: Iterator[JobView], *, clock: Callable[[], float] = time.monotonic
) -> Index:
    """Run `views` to their end and make them the index; one that cannot be stored is still returned."""
    before = read_index(paths)
    began = clock()
    rows = tuple(
        Row(view.name, view.standing, view.status, 0 if view.record is None else view.record.generation)
        for view in views
    )
    index = Index(1 if before is None else before.serial + 1, clock() - began, rows)
    store_index(paths, index)
    return index


def store_index(paths: JoblistPaths, index: Index) -> None:
    """Replace the index file; a failure is only noted, since the index is a hint."""
    jobs = [[row.name, row.standing, row.status, row.generation] for row in index.rows]
    try:
        replace_file(
            paths.index, json.dumps({"serial": index.serial, "took": index.took, "jobs": jobs}).encode("ascii")
        )
    except StorageError as error:
        _log.debug("index not stored: %s", error)
