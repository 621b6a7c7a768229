"""How long the last worker waits for owners that may be dead: in made-up time, with real observations."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.index import Index, Row
from bulkhaul.joblist.job import Standing
from bulkhaul.joblist.liveness import Sign, Silences
from bulkhaul.joblist.seeking import Look, Pause, Refresh, Reread, Seeker, Sighting, Step, Try
from joblist.driving import drive

TIMES = LeaseTimes()


@dataclass
class Site:
    """Jobs held by one owner each; `beats` says what the heartbeat of a job's owner holds at a time."""

    beats: dict[str, Callable[[float], bytes]]
    stalls: list[float] = field(default_factory=list)
    """Times at which the next look takes five minutes."""
    stand_still: float = 300.0
    claimable: set[str] = field(default_factory=set)
    others_scan: float = 0.0
    """Seconds of another worker's scans, one after the other, once a claim has failed; 0: we scan, each in a second."""
    now: float = 0.0
    scans: int = 0
    lost_at: float | None = None
    tried: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._silences = Silences(TIMES.ttl)

    def claim(self) -> tuple[bool, list[str]]:
        """Whether a job was claimed, and the jobs in doubt."""
        seeker = Seeker(TIMES, offset=0, clock=lambda: self.now, random=random.Random(1))
        return drive(seeker, self.answer), seeker.doubtful

    def answer(self, step: Step) -> object:
        assert self.now < 10_000, "it never ends"
        match step:
            case Refresh() if not (self.others_scan and self.lost_at is not None):
                self.scans += 1
                self.now += self.others_scan or 1.0
                return self._sighting(self.scans, own=True)
            case Reread() if self.others_scan and self.lost_at is not None:
                serial = self.scans + int((self.now - self.lost_at) / self.others_scan)
                return self._sighting(serial) if (serial, 0) != step.known else None
            case Look():
                return self._look(step.name)
            case Pause():
                self.now += step.seconds
            case Try():
                self.tried.append((step.name, self.now))
                self.lost_at = self.now
                return step.name in self.claimable
        return None

    def _sighting(self, serial: int, *, own: bool = False) -> Sighting:
        rows = tuple(Row(name, Standing.OWNED, None, 1, 0, 0) for name in sorted(self.beats))
        return Sighting((serial, 0), Index(serial, self.others_scan or 1.0, rows), own=own)

    def _look(self, name: str) -> Sign:
        if self.stalls and self.now > self.stalls[0]:
            self.stalls.pop(0)
            self.now += self.stand_still
        self._silences.note(name, self.beats[name](self.now), self.now)
        return self._silences.sign(name, self.now)


def dead(_now: float) -> bytes:
    return b"0"


def alive(now: float) -> bytes:
    return b"%d" % (now // TIMES.heartbeat)


def test_a_dead_owner_is_found_although_the_observer_stood_still_meanwhile() -> None:
    for at in (5, 60, 150, 175):
        site = Site({"a": dead}, stalls=[at], claimable={"a"})
        assert site.claim() == (True, [])
        assert at + 300 + TIMES.ttl <= site.now <= at + 300 + 1.25 * TIMES.ttl


def test_a_pause_that_is_too_short_to_begin_the_observation_anew_makes_no_wait_longer() -> None:
    site = Site({"a": dead}, stalls=[60], stand_still=30, claimable={"a"})
    assert site.claim() == (True, [])
    assert site.now <= 1.25 * TIMES.ttl


def test_an_observer_that_always_stands_still_goes_home_with_the_doubt() -> None:
    site = Site({"a": dead}, stalls=[0.0] * 1_000, stand_still=70, claimable={"a"})
    assert site.claim() == (False, ["a"])
    assert site.now < 5 * 1.25 * TIMES.ttl


def test_who_lost_the_race_for_a_job_sees_the_other_owners_beat() -> None:
    # The scans of another worker between the two rounds made all that was observed worthless.
    site = Site({"a": dead, "b": alive}, others_scan=60.0)
    site.beats["a"] = lambda now: dead(now) if site.lost_at is None else alive(now)
    assert site.claim() == (False, [])
    assert [name for name, _ in site.tried] == ["a"]


def test_who_lost_the_race_for_a_job_finds_the_next_dead_owner() -> None:
    site = Site({"a": dead, "b": alive}, others_scan=60.0, claimable={"b"})
    site.beats["a"] = lambda now: dead(now) if site.lost_at is None else alive(now)
    site.beats["b"] = lambda now: alive(min(now, 200.0))
    assert site.claim() == (True, [])
    assert [name for name, _ in site.tried] == ["a", "b"]


def test_a_job_of_the_dead_that_nobody_can_claim_keeps_no_worker_for_ever() -> None:
    site = Site({"a": dead})
    assert site.claim() == (False, ["a"])
    assert site.now < 5 * 1.25 * TIMES.ttl
