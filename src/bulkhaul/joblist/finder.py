"""What a worker knows of the index: reads it when it changed, or makes a new one when nobody else is at it."""

from __future__ import annotations

from collections.abc import Iterator

from bulkhaul.joblist.index import index_version, read_index, refresh_index, scan_views
from bulkhaul.joblist.job import Gate, JobView
from bulkhaul.joblist.locks import Held, Lock
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.seeking import Sighting, Version
from bulkhaul.joblist.views import Dead


class Finder:
    """Makes the steps of a `Seeker` that concern the index; `dead` judges the owners of open claims."""

    def __init__(self, paths: JoblistPaths, *, lock: Lock, dead: Dead) -> None:
        self._paths = paths
        self._lock = lock
        self._dead = dead

    def reread(self, known: Version) -> Sighting | None:
        """The index if it is another than `known` and can be read."""
        # Taken before the content: what is replaced between the two is then read once more, never missed.
        version = index_version(self._paths)
        if version == known or (present := read_index(self._paths)) is None:
            return None
        return Sighting(version, present)

    def refresh(self, known: Version, gate: Gate, *, force: bool = False, alone: bool = False) -> Sighting | None:
        """A new index, or one that another has just made; None while another is at it.

        `force` when it has been at it for too long: then one of those who wait scans beside it. `alone` when that one
        has taken too long as well: then the locks say nothing any more.

        Raises:
            StorageError: the joblist cannot be read.
        """
        with self._lock(self._paths.scan_lock, 0) as held:
            if held is not Held.BUSY:
                return self.reread(known) or self._scan(gate)
        if not force:
            return None
        # All who wait lose their patience at about the same time: one of them is enough.
        with self._lock(self._paths.second_scan_lock, 0) as held:
            return None if held is Held.BUSY and not alone else self.reread(known) or self._scan(gate)

    def _scan(self, gate: Gate) -> Sighting:
        def views() -> Iterator[JobView]:
            for view in scan_views(self._paths, self._lock, dead=self._dead):
                gate()
                yield view

        index = refresh_index(self._paths, views())
        return Sighting(index_version(self._paths), index, own=True)
