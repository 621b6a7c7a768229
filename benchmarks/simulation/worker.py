"""One simulated worker: `Seeker`, `Silences`, `claim_after` and `StopRequest` decide, `Store` keeps, time passes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator
from datetime import UTC, datetime, timedelta

from bulkhaul.errors import Stopped
from bulkhaul.joblist.heartbeat import Progress
from bulkhaul.joblist.index import Offer
from bulkhaul.joblist.job import CLAIMABLE, Owner
from bulkhaul.joblist.ledger import End, Record, new_record
from bulkhaul.joblist.liveness import Sign, Silences
from bulkhaul.joblist.seeking import Look, Names, Numbers, Pause, Refresh, Reread, Seeker, Sighting, Step, Try
from bulkhaul.joblist.succession import claim_after, holder, is_deadly, is_open
from bulkhaul.stopping import StopRequest
from bulkhaul.transfer.pacing import Pacing
from simulation.site import Site
from simulation.world import Task

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_SENDING = 30.0  # seconds between two looks at the share of the prefix
_SEEN_AGAIN = 5_000.0  # files a second that a successor finds there already
_LOG_SECONDS = 60.0
_IDLE = 30.0  # seconds from a worker's first pause to its next job from which on it was idle, not looking for work
IN_FLIGHT = Pacing(64).limit
"""Requests of one worker that a freeze may catch under way."""
Wait = Generator[float, None, None]


class Worker:
    """A process in a SLURM task; `live` asks the world, not the joblist."""

    def __init__(self, site: Site, *, name: str, offset: float, limit: float | None, seed: str) -> None:
        self.site = site
        self.owner = Owner(name, name, name, "", "", 1, 1)
        self.began = site.store.world.now
        self.died_at = float("inf")
        self.frozen = (float("inf"), float("inf"))
        self.progressed = False
        self.stopped = False
        self.left = False
        self.task: Task | None = None
        self._limit = limit
        self._seeker = Seeker(
            site.times,
            offset=offset,
            clock=site.store.world.clock,
            random=random.Random(seed),
        )
        self._silences = Silences(site.times.ttl)
        end = None if limit is None else self._date() + timedelta(seconds=limit)
        self._stop = StopRequest(deadline=end, now=self._date)
        self._files_of_claim = 0
        self._last_beat, self._held, self._holds_since = self.began, 0.0, float("inf")
        self._own_calls: Counter[str] = Counter()
        self._waits_since: tuple[float, Counter[str]] | None = None
        self._scanned = 0.0

    def life(self) -> Wait:
        """Claim and send until nothing is left or the time limit is near."""
        try:
            while (record := (yield from self._claim_next())) is not None:
                yield from self._transfer(record)
                self._let_go()
        except Stopped:
            self.stopped = True
        self.left = True
        self.ends()

    def ends(self) -> None:
        """It has gone home, or was killed."""
        store, now = self.site.store, self.site.store.world.now
        self.died_at = now
        held = self._held + max(0.0, now - self._holds_since)
        store.note_beats(self.began, now - self.began, held / self.site.times.heartbeat * store.costs.beat_and_look)

    def beat(self, now: float) -> float:
        """When the last beat before `now` was written; without a job it does not beat."""
        at = min(now, self.died_at)
        if self.frozen[0] <= at < self.frozen[1]:
            at = self.frozen[0]
        start = self.began if at < self.frozen[1] else self.frozen[1]
        beat = start + (at - start) // self.site.times.heartbeat * self.site.times.heartbeat
        return beat if beat >= self._holds_since else self._last_beat

    def live(self, now: float) -> bool:
        """Whether it may send something now without another beat."""
        return now < self.died_at and self.site.times.trusts(now - self.beat(now))

    def seconds_left(self) -> float:
        """Seconds until SLURM ends the task."""
        return self._stop.seconds_left() or 0.0

    def _calling(self, kind: str, count: int) -> float:
        self._own_calls[kind] += count
        return self.site.store.calling(kind, count)

    def _date(self) -> datetime:
        return EPOCH + timedelta(seconds=self.site.store.world.now)

    def _claim_next(self) -> Generator[float, None, Record | None]:
        self._waits_since, calls = None, self._own_calls.total()
        try:
            return (yield from self._seek())
        finally:
            if self._waits_since is not None:
                since, known = self._waits_since
                seconds = self.site.store.world.now - since - self._scanned
                if seconds >= _IDLE:
                    self._note_idle(seconds, self._own_calls - known, before=known.total() - calls)

    def _seek(self) -> Generator[float, None, Record | None]:
        steps = self._seeker.steps()
        answer: Sighting | list[Offer] | dict[str, int] | Sign | bool | None = None
        record: Record | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return record
            self._stop.check()
            if isinstance(step, Try):
                record = yield from self._try(step)
                answer = record is not None
            else:
                answer = yield from self._make(step)

    def _make(self, step: Step) -> Generator[float, None, Sighting | list[Offer] | dict[str, int] | Sign | None]:
        store, costs = self.site.store, self.site.store.costs
        match step:
            case Reread():
                changed = store.sighting is not None and store.sighting.version != step.known
                yield self._calling("index", costs.read_index if changed else costs.reread)
                return store.sighting if changed else None
            case Refresh():
                return (yield from self._refresh(step))
            case Names():
                yield self._calling("listings", store.listing_calls(len(store.names)))
                return store.offers.copy()
            case Numbers():
                yield self._calling("listings", store.listing_calls(2 * len(store.records)))
                return store.numbers
            case Look():
                yield self._calling("looks", costs.look)
                record = store.records.get(step.name)
                owner = holder(record)
                if owner is None:
                    return Sign.DEAD if is_open(record) else Sign.ALIVE
                return self._look(owner)
            case Pause():
                if self._waits_since is None:
                    self._waits_since, self._scanned = (store.world.now, self._own_calls.copy()), 0.0
                yield step.seconds if self._limit is None else min(step.seconds, max(0.0, self.seconds_left()))
        return None

    def _refresh(self, step: Refresh) -> Generator[float, None, Sighting | None]:
        store = self.site.store
        assert self.task is not None
        if (place := store.scanner(force=step.force)) is None:
            yield self._calling("scan lock", store.costs.busy)
            return None
        # Held from here on: nothing else happens before the first read.
        if store.sighting is not None and store.sighting.version != step.known:
            yield self._calling("index", store.costs.read_index)
            return store.sighting
        began = store.world.now
        sighting = yield from store.scan(lambda owner: self._look(owner) is Sign.DEAD, by=self.task, place=place)
        self._scanned += store.world.now - began
        return sighting

    def _look(self, owner: Owner) -> Sign:
        now = self.site.store.world.now
        if self.site.gone(owner):
            return Sign.DEAD
        other = self.site.workers[owner.worker]
        content = b"" if other.left else b"%f" % other.beat(now)
        self._silences.note(owner.worker, content, now)
        return self._silences.sign(owner.worker, now)

    def _try(self, step: Try) -> Generator[float, None, Record | None]:
        store, costs, name = self.site.store, self.site.store.costs, step.name
        before = store.records.get(name)
        if before is not None and step.generation is not None and before.generation > step.generation:
            yield self._calling("missed", 1)
            self.site.account.missed += 1
            return None
        standing, _ = store.standing(name, lambda owner: self._look(owner) is Sign.DEAD)
        if standing not in CLAIMABLE:
            yield self._calling("missed", costs.missed)
            self.site.account.missed += 1
            return None
        takes_over = before is not None and before.end is None
        cost = costs.take_over if takes_over else costs.claim
        record = claim_after(name, before, self.owner, progress=self._progress_of(before) if takes_over else None)
        yield self._calling("claims", cost // 2)
        if not self.live(store.world.now):  # after a long wait
            self._last_beat = store.world.now
            yield self._calling("beats", costs.beat)
        if not store.put(record, live=self._is_live):
            yield self._calling("missed", costs.missed // 2)
            self.site.account.missed += 1
            return None
        if before is not None and takes_over:
            self.site.account.taken_over.append(store.world.now - self.site.workers[before.owner.worker].silent_since)
        self._files_of_claim, self._holds_since = 0, store.world.now
        yield self._calling("claims", cost // 2)
        if is_deadly(record):
            yield from self._end(record, End.ERROR)
            self._let_go()
            return None
        return record

    def _let_go(self) -> None:
        now = self.site.store.world.now
        self._last_beat, self._held = self.beat(now), self._held + now - self._holds_since
        self._holds_since = float("inf")

    @property
    def silent_since(self) -> float:
        """When it died or froze."""
        return min(self.died_at, self.frozen[0])

    def _is_live(self, owner: Owner) -> bool:
        return self.site.workers[owner.worker].live(self.site.store.world.now)

    def _progress_of(self, record: Record | None) -> Progress | None:
        if record is None:
            return None
        other = self.site.workers[record.owner.worker]
        return Progress(record.job, record.generation, files=other._files_of_claim)

    def _transfer(self, record: Record) -> Wait:
        site, world = self.site, self.site.store.world
        found = site.files[record.job]
        yield site.start_seconds + (record.generation > 1) * found / _SEEN_AGAIN
        lane = site.prefixes.enter(record.job)
        try:
            logged = world.now
            while site.files[record.job] > 0:
                rate, left = site.prefixes.rate(lane), site.files[record.job]
                began, seconds = world.now, min(left / rate, _SENDING)
                yield seconds
                if not site.times.trusts(world.now - self.beat(began)) and not (yield from self._still_ours(record)):
                    return
                sent = min(left, max(1, round(rate * seconds)))
                site.files[record.job] -= sent
                site.account.sent += sent
                self._files_of_claim += sent
                self.progressed = True
                if world.now - logged >= _LOG_SECONDS:
                    logged = world.now
                    yield self._calling("logs", site.store.costs.log)
                self._stop.check()
        except Stopped:
            yield from self._end(record, End.RELEASED)
            raise
        finally:
            site.prefixes.leave(lane)
        yield from self._end(record, End.SUCCESS)

    def _still_ours(self, record: Record) -> Generator[float, None, bool]:
        """After too long a silence: a beat, then a look at the ledger, before anything more is sent."""
        site = self.site
        yield self._calling("beats", site.store.costs.beat_and_look)
        if site.store.records[record.job] is record:
            return True
        site.account.lost_claims += 1
        # What was in flight when it froze: its successor has sent it too.
        site.account.duplicates += IN_FLIGHT
        return False

    def _end(self, record: Record, end: End) -> Wait:
        site, account = self.site, self.site.account
        cost = site.store.costs.release if end is End.RELEASED else site.store.costs.end
        yield self._calling("ends", cost // 2)
        if not site.store.put(
            new_record(record.job, record.generation + 1, self.owner, end=end, text=""), live=self._is_live
        ):
            account.lost_claims += 1
            return
        account.ended += end is not End.RELEASED
        account.errors += end is End.ERROR
        account.released += end is End.RELEASED
        account.last_end = site.store.world.now
        yield self._calling("ends", cost // 2)

    def _note_idle(self, seconds: float, calls: Counter[str], *, before: int) -> None:
        account = self.site.account
        account.waits += 1
        account.before_waits += before
        account.idle_seconds += seconds
        account.idle_calls.update(calls)
