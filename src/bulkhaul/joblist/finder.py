"""Which jobs to try: from the index while it offers any, from a fresh scan at the end."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from bulkhaul.joblist.index import Index, index_version, read_index, refresh_index, scan_views
from bulkhaul.joblist.job import Gate, JobView, Standing
from bulkhaul.joblist.locks import Held, Lock
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.views import Dead

_CHOICE = 16
_REFRESH_SECONDS = 30.0
# A scan of 10^5 jobs on a slow file system takes a minute: it may not become all that the scanner does.
_REFRESH_SHARE = 10


class Finder:
    """One worker's sight of the joblist; `offset` in [0, 1) is where it begins to look."""

    def __init__(self, paths: JoblistPaths, *, lock: Lock, dead: Dead, offset: float, patience: float) -> None:
        self._paths = paths
        self._lock = lock
        self._dead = dead
        self._offset = offset
        self._patience = patience
        self._index: Index | None = None
        self._version = (0, 0)
        self._seen_at = 0.0
        self._todo: list[str] = []

    def update(self, gate: Gate) -> None:
        """Take over an index that changed; refresh one that is due, unless another worker is at it."""
        if index_version(self._paths) != self._version and (present := read_index(self._paths)) is not None:
            self._take(present)
        if self._index is not None and time.monotonic() < self._seen_at + self._interval():
            return
        with self._lock(self._paths.scan_lock, 0) as held:
            if held is not Held.BUSY and index_version(self._paths) == self._version:
                self._scan(gate)

    def next_todo(self) -> str | None:
        """A name that was free in the last index, each once per index."""
        if not self._todo:
            return None
        start = int(self._offset * len(self._todo))
        # At random among the next few: neighbours seldom want the same job, and each slice is still emptied first.
        near = range(start, min(start + _CHOICE, len(self._todo)))
        return self._todo.pop(random.choice(near))  # noqa: S311 - no secret

    def fresh_index(self, gate: Gate) -> Index:
        """An index whose scan began after this call; of many callers at once few scan.

        Raises:
            StorageError: the joblist cannot be read.
        """
        before = read_index(self._paths)
        wanted = 2 + (before.serial if before else 0)
        give_up = time.monotonic() + self._patience
        while True:
            gate()
            with self._lock(self._paths.scan_lock, 0.5) as held:
                present = read_index(self._paths)
                if held is Held.YES and present is not None and present.serial >= wanted:
                    return self._take(present)
                # A scanner that was stopped in the middle may hold the lock for ever.
                if held is not Held.BUSY or time.monotonic() > give_up:
                    return self._scan(gate)

    def _interval(self) -> float:
        took = 0.0 if self._index is None else self._index.took
        return max(_REFRESH_SECONDS, _REFRESH_SHARE * took)

    def _scan(self, gate: Gate) -> Index:
        def views() -> Iterator[JobView]:
            for view in scan_views(self._paths, self._lock, dead=self._dead):
                gate()
                yield view

        return self._take(refresh_index(self._paths, views()))

    def _take(self, index: Index) -> Index:
        self._index = index
        self._version = index_version(self._paths)
        self._seen_at = time.monotonic()
        self._todo = [row.name for row in index.rows if row.standing is Standing.FREE]
        return index
