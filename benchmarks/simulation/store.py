"""A joblist in memory: the newest records, lines 1, the index and what each file system call takes.

Its calls are counted; the invariants of the claim protocol are asserted at each record put.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property

from bulkhaul.joblist.index import Index, Offer, Row
from bulkhaul.joblist.job import Owner, Standing, Status, standing_of, status_of
from bulkhaul.joblist.ledger import End, Record, state_of
from bulkhaul.joblist.seeking import Sighting
from bulkhaul.joblist.views import READERS
from simulation.costs import Costs
from simulation.world import Task, World

_LEAST, _MOST = 0.0005, 0.005  # seconds of a metadata operation
_MEAN, _SPREAD = (_LEAST + _MOST) / 2, (_MOST - _LEAST) / 12**0.5
_CHUNKS = 64
_ENTRIES = 500  # names that one call of a listing brings
SLOT = 10.0
"""Seconds of one point in the curves."""
_WORDS = {End.SUCCESS: "success", End.ERROR: "error", End.RELEASED: "todo"}


@dataclass(frozen=True)
class SharedIndex(Index):
    """An index that many workers read: what each would work out for itself is worked out once."""

    @cached_property
    def _offers(self) -> list[Offer]:
        return super().claimable()

    def claimable(self) -> list[Offer]:
        """The jobs that a worker may try, sorted by name."""
        return self._offers.copy()


class Store:
    """The files of one joblist."""

    def __init__(self, world: World, jobs: list[str], *, costs: Costs, seed: int) -> None:
        self.world = world
        self.costs = costs
        self.names = jobs
        self.offers = [Offer(name) for name in jobs]
        self.records: dict[str, Record] = {}
        self.numbers: dict[str, int] = {}
        self.words: dict[str, str] = dict.fromkeys(jobs, "todo")
        self.calls: Counter[str] = Counter()
        self.curve: Counter[int] = Counter()
        self.claims: Counter[int] = Counter()
        self.sighting: Sighting | None = None
        self.scans: list[tuple[float, float]] = []
        self._scanners: list[Task | None] = [None, None]
        self._random = random.Random(seed)
        self._fixed: dict[str, Row] = {}

    def calling(self, kind: str, count: float) -> float:
        """Note file system calls; the seconds that they take one after the other."""
        self.calls[kind] += round(count)
        self.curve[int(self.world.now / SLOT)] += round(count)
        drawn = self._random.gauss(count * _MEAN, count**0.5 * _SPREAD)
        return min(max(drawn, count * _LEAST), count * _MOST)

    def listing_calls(self, entries: int) -> int:
        """How many calls the listing of a folder makes."""
        return 1 + entries // _ENTRIES

    def note_beats(self, began: float, seconds: float, calls: float) -> None:
        """Note calls that came evenly over some seconds."""
        self.calls["beats"] += round(calls)
        slots = range(int(began / SLOT), int((began + seconds) / SLOT) + 1)
        for slot in slots:
            self.curve[slot] += round(calls / len(slots))

    def standing(self, name: str, dead: Callable[[Owner], bool]) -> tuple[Standing, Status | None]:
        """How a job stands, for who judges owners by `dead`."""
        record = self.records.get(name)
        expired = record is not None and record.end is None and dead(record.owner)
        standing, ought = standing_of(self.words[name], state_of(record, expired=expired))
        return standing, status_of(self.words[name], standing, ought)

    def put(self, record: Record, *, live: Callable[[Owner], bool]) -> bool:
        """Put a record if its number is free.

        Raises:
            AssertionError: it takes a job from an owner that may still send, or ends a job a second time.
        """
        before = self.records.get(record.job)
        if record.generation != (before.generation if before else 0) + 1:
            return False
        if record.end is None:
            assert before is None or before.end is End.RELEASED or not live(before.owner), "two live owners"
            self.claims[int(self.world.now / SLOT)] += 1
        else:
            assert before is not None
            assert before.end is None, "a job ends once"
            assert before.owner == record.owner, "an end is by the owner"
        self.records[record.job] = record
        self.numbers[record.job] = record.generation
        self.words[record.job] = "ongoing" if record.end is None else _WORDS[record.end]
        return True

    def scanner(self, *, force: bool) -> int | None:
        """Which scan lock is free: the kernel takes it from a dead process, a frozen one keeps it."""
        for place, task in enumerate(self._scanners[: 1 + force]):
            if task is None or not task.alive:
                return place
        return None

    def scan(self, dead: Callable[[Owner], bool], *, by: Task, place: int) -> Generator[float, None, Sighting]:
        """Read all jobs, as they are when their turn comes, and replace the index."""
        self._scanners[place] = by
        began, serial = self.world.now, 1 + (self.sighting.index.serial if self.sighting else 0)
        rows: list[Row] = []
        yield self.calling("listings", self.listing_calls(len(self.names) + 2 * len(self.records)))
        size = max(1, len(self.names) // _CHUNKS)
        for start in range(0, len(self.names), size):
            names = self.names[start : start + size]
            rows.extend(self._row(name, dead) for name in names)
            done = sum(name in self.records for name in names)
            calls = done * self.costs.scan_done + (len(names) - done) * self.costs.scan_todo
            yield self.calling("scans", calls) / READERS
        self._scanners[place] = None
        took = self.world.now - began
        self.scans.append((began, took))
        version = (len(self.scans), 0)
        self.sighting = Sighting(version, SharedIndex(serial, took, tuple(rows)))
        return Sighting(version, self.sighting.index, own=True)

    def _row(self, name: str, dead: Callable[[Owner], bool]) -> Row:
        if name in self._fixed:
            return self._fixed[name]
        standing, status = self.standing(name, dead)
        record = self.records.get(name)
        row = Row(name, standing, status, record.generation if record else 0, 0, 0)
        if standing is Standing.ENDED:
            self._fixed[name] = row
        return row
