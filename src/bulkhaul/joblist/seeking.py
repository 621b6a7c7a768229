"""How a worker looks for work (pure): its steps in their order, told one by one to whoever makes them.

`Session` makes the steps on the joblist's files; a simulation makes the same steps in memory, in its own time. Each
step's class says what its answer is.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.index import Index, Offer, Row
from bulkhaul.joblist.job import Standing
from bulkhaul.joblist.liveness import LastWait, Sign

_HELD = (Standing.OWNED, Standing.EXPIRED)
_CHOICE = 16
_REFRESH_SECONDS = 30.0
# A scan of 10^5 jobs on a slow file system takes minutes: it may not become all that the scanner does.
_REFRESH_SHARE = 10
_FIRST_PAUSE = 0.1  # seconds of a wait for another's scan
_SCANS_PATIENCE = 3  # scans as long as the last one that another's may take
_JOB_SECONDS = 0.02  # of a scan whose like was never seen: three operations of 5 ms a job, and some
_MISSES = 16  # jobs in a row that others were faster at: what is known is old
_FEW = 4  # jobs of one index that an idle worker tries: those who are faster at all of them are many
_LISTED = 256  # jobs from which on one listing of the ledger is cheaper than a look at each
_WATCHED = 32  # jobs that one idle worker looks at
_ALL = float("inf")

Version = tuple[int, int]
"""What changes whenever the index is replaced; (0, 0): there is none."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An index, its file's version, and whether this worker made it just now."""

    version: Version
    index: Index
    own: bool = False


class Reread(NamedTuple):
    """Read the index if its version is another than `known`. Answer: `Sighting`, or None."""

    known: Version


class Refresh(NamedTuple):
    """Scan all jobs, unless another worker is at it or the version has become another than `known`.

    Answer: `Sighting`, or None while another is at it. With `force` one more may be at it, with `alone` any number.
    """

    known: Version
    force: bool = False
    alone: bool = False


class Names(NamedTuple):
    """List the names of all jobs. Answer: a list of `Offer`, sorted."""


class Numbers(NamedTuple):
    """List the ledger. Answer: the newest number of each job that has any."""


class Try(NamedTuple):
    """Try to claim `name`. Answer: True when it is ours.

    Where `generation` was its newest number and a later one is there, nothing more needs to be looked at.
    """

    name: str
    generation: int | None = None


class Look(NamedTuple):
    """Look at the owner of `name`, last seen in `generation`. Answer: `Sign`; of a job that is free again `DEAD`."""

    name: str
    generation: int


class Pause(NamedTuple):
    """Let `seconds` pass. No answer."""

    seconds: float


Step = Reread | Refresh | Names | Numbers | Try | Look | Pause
Steps = Generator[Step, Any, bool]


class Seeker:
    """One worker's sight of the joblist; `offset` in [0, 1) is where it begins to look.

    `seen` are the rows of the last fresh scan; `doubtful` the jobs whose owner was neither seen alive nor found dead.
    """

    def __init__(
        self,
        times: LeaseTimes,
        *,
        offset: float,
        clock: Callable[[], float],
        random: _random.Random | None = None,
    ) -> None:
        self.seen: tuple[Row, ...] = ()
        self.doubtful: list[str] = []
        self._times = times
        self._offset = offset
        self._clock = clock
        self._random = random or _random.Random()  # noqa: S311 - no secret
        self._index: Index | None = None
        self._version: Version = (0, 0)
        self._seen_at = 0.0
        self._todo: list[Offer] = []
        self._listed = 0

    def steps(self) -> Steps:
        """The steps to one claim; returns True when the last `Try` had it.

        False only after a fresh scan found no job free and owners that may be dead were waited for: little more
        than one lease, and a few times as long where the file system or this process stands still meanwhile.
        """
        self.doubtful = []
        yield from self._update()
        claimed, _ = yield from self._try_todo()
        return claimed or (yield from self._claim_last())

    def _update(self) -> Generator[Step, Any, None]:
        """Take over an index that changed; refresh one that is due, unless another worker is at it."""
        self._take((yield Reread(self._version)))
        if self._index is not None and self._clock() < self._seen_at + self._interval():
            return
        if not self._take((yield Refresh(self._version))) and self._index is None and not self._listed:
            # The first scan of a long list takes minutes: until it tells more, every job may be free.
            self._todo = yield Names()
            self._listed = len(self._todo)

    def _try_todo(self, most: float = _ALL, *, left: float = _ALL) -> Generator[Step, Any, tuple[bool, dict[str, int]]]:
        """True for a job claimed, or those that somebody else was faster at.

        After `most` of them it goes on only while more than `left` are left.
        """
        missed: dict[str, int] = {}
        while (len(missed) < most or len(self._todo) > left) and (offer := self._next_todo()) is not None:
            if (yield Try(*offer)):
                return True, {}
            missed.update([offer])
            if len(missed) % _MISSES == 0:
                missed.update((yield from self._brush_up()))
        return False, missed

    def _brush_up(self) -> Generator[Step, Any, list[Offer]]:
        """Drop what others have claimed meanwhile; returns it, since they may die or give it back."""
        before = self._todo
        if not self._take((yield Reread(self._version))) and len(self._todo) > _LISTED:
            newest = (yield Numbers()).get
            self._todo = [offer for offer in self._todo if newest(offer[0], 0) <= offer[1]]
        left = {offer.name for offer in self._todo}
        return [offer for offer in before if offer.name not in left]

    def _claim_last(self) -> Steps:
        wait = LastWait(self._times)
        while True:
            began = self._clock()
            if (yield from self._see_afresh()):
                return True
            claimed, missed = yield from self._try_todo(_FEW, left=_WATCHED)
            if claimed:
                return True
            took = self._clock() - began
            held = {row.name: row.generation for row in self.seen if row.standing in _HELD}
            chosen = self._chosen(held | missed)
            if self._todo:
                # Not all at once: claims under way get written, and whoever finds a job left finds it alone.
                yield Pause(self._look_pause() * self._random.random())
            wait.begin(self._clock(), took)
            if not (yield from self._watch(chosen, wait)):
                return False
            for name in self.doubtful:
                if (yield Try(name)):
                    self.doubtful = []
                    return True
            yield Pause(self._look_pause())

    def _see_afresh(self) -> Steps:
        """Get an index whose scan began after this call; of many workers at once few scan.

        True when a job was claimed meanwhile: an older index that offers any is good enough for that.
        """
        self._take((yield Reread(self._version)))
        # After two more scans have ended, the second began after the question was asked.
        wanted = 2 + (self._index.serial if self._index else 0)
        while True:
            sighting = yield from self._newer_index()
            self._take(sighting)
            if sighting.own or sighting.index.serial >= wanted:
                self.seen = sighting.index.rows
                return False
            # A newer one comes, and many wait for it: none of them has to try all that this one offers.
            claimed, _ = yield from self._try_todo(_FEW)
            if claimed:
                return True

    def _newer_index(self) -> Generator[Step, Any, Sighting]:
        """Make an index, or wait for another's and ask ever more seldom: a try of the lock costs seven calls."""
        took = self._scan_seconds()
        pause, patience = max(_FIRST_PAUSE, took / 8), max(_FIRST_PAUSE, took) / 4
        asked, give_up = float("-inf"), self._clock() + self._patience()
        # Widely drawn: of all who wait the first should have ended its scan before the next loses its patience.
        alone = give_up + self._patience() * (1 + self._random.random())
        sighting: Sighting | None = None
        while sighting is None:
            if self._clock() - asked >= min(patience, self._times.ttl):
                # A scanner that was stopped in the middle may hold the lock for ever, and so may a second one.
                now = self._clock()
                sighting = yield Refresh(self._version, force=now > give_up, alone=now > alone)
                asked, patience = self._clock(), 4 * patience
            if sighting is None:
                yield Pause(min(pause, self._times.ttl / 2))
                sighting = yield Reread(self._version)
                pause *= 2
        return sighting

    def _chosen(self, held: dict[str, int]) -> dict[str, int]:
        """The jobs to look at: all offers not tried, and of many jobs `held` some, at random.

        Owners who live come here too, and whoever comes last finds few left.
        """
        untried = dict(self._todo)
        others = sorted((name, generation) for name, generation in held.items() if name not in untried)
        return untried | dict(self._random.sample(others, max(0, min(_WATCHED - len(untried), len(others)))))

    def _watch(self, chosen: dict[str, int], wait: LastWait) -> Steps:
        """Look at the owners of the jobs `chosen` until each is known alive; True: some job is there for the taking.

        Then, or when time is over, `doubtful` holds the jobs that are left.
        """
        while True:
            signs = {}
            for name, generation in chosen.items():
                signs[name] = yield Look(name, generation)
            chosen = {name: generation for name, generation in chosen.items() if signs[name] is not Sign.ALIVE}
            self.doubtful = list(chosen)
            if wait.over(self._clock()) or not chosen:
                return False
            if dead := [name for name in chosen if signs[name] is Sign.DEAD]:
                self.doubtful = dead
                return True
            yield Pause(self._look_pause())

    def _next_todo(self) -> Offer | None:
        """A job that may be free as the index says, each once per index."""
        if not self._todo:
            return None
        start = int(self._offset * len(self._todo))
        # At random among the next few: neighbours seldom want the same job, and each slice is still emptied first.
        return self._todo.pop(self._random.randrange(start, min(start + _CHOICE, len(self._todo))))

    def _take(self, sighting: Sighting | None) -> bool:
        """Go on with a newer index; False: there is none."""
        if sighting is None:
            return False
        self._version, self._index = sighting.version, sighting.index
        self._seen_at = self._clock()
        self._todo = sighting.index.claimable()
        return True

    def _interval(self) -> float:
        return max(_REFRESH_SECONDS, _REFRESH_SHARE * self._scan_seconds())

    def _scan_seconds(self) -> float:
        """What a scan takes, as far as the last one tells: it may have stood still on the way, for a night."""
        if self._index is None:
            return 0.0
        return min(self._index.took, self._times.ttl + _JOB_SECONDS * len(self._index.rows))

    def _patience(self) -> float:
        """Seconds that another's scan may take; drawn at random, so that not all lose it at once."""
        scan = _JOB_SECONDS * self._listed if self._index is None else self._scan_seconds()
        return self._times.ttl + _SCANS_PATIENCE * scan * (1 + self._random.random())

    def _look_pause(self) -> float:
        return min(self._times.ttl / 8, self._times.heartbeat / 2)
