"""The order in which a worker looks for work, step by step, without a file system and in made-up time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.index import Index, Offer, Row
from bulkhaul.joblist.job import Standing
from bulkhaul.joblist.liveness import Sign
from bulkhaul.joblist.seeking import Look, Names, Numbers, Pause, Refresh, Reread, Seeker, Sighting, Step, Try
from joblist.driving import drive


def index(serial: int, *standings: Standing, took: float = 1.0) -> Sighting:
    rows = tuple(Row(f"{number:05}", standing, None, 1, 0, 0) for number, standing in enumerate(standings))
    return Sighting((serial, 0), Index(serial, took, rows))


@dataclass
class Joblist:
    """Answers each step; time passes in pauses alone."""

    present: Sighting | None = None
    scanned: Callable[[], Sighting | None] = lambda: None
    claimable: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    sign: Sign = Sign.ALIVE
    now: float = 1_000.0
    made: list[Step] = field(default_factory=list)
    while_paused: Callable[[], None] = lambda: None

    def seeker(self, *, offset: float = 0.0, seed: int = 1) -> Seeker:
        return Seeker(LeaseTimes(), offset=offset, clock=lambda: self.now, random=random.Random(seed))

    def claim(self, seeker: Seeker) -> bool:
        self.made = []
        return drive(seeker, self.answer)

    def answer(self, step: Step) -> object:
        self.made.append(step)
        assert len(self.made) < 10_000, "it never ends"
        match step:
            case Reread():
                return self.present if self.present and self.present.version != step.known else None
            case Refresh():
                return self.scanned()
            case Names():
                return [Offer(name) for name in self.names]
            case Numbers():
                return self.numbers
            case Try():
                return step.name in self.claimable
            case Look():
                return self.sign
            case Pause():
                self.now += step.seconds
                self.while_paused()
        return None

    def count(self) -> Counter[str]:
        return Counter(type(step).__name__ for step in self.made)


def own(sighting: Sighting) -> Sighting:
    return Sighting(sighting.version, sighting.index, own=True)


def test_who_waits_for_anothers_scan_asks_seldom() -> None:
    joblist = Joblist(present=index(3, Standing.ENDED))

    def scan_ends() -> None:
        if joblist.now >= 1_600:
            joblist.present = index(5, Standing.ENDED)

    joblist.while_paused = scan_ends
    assert not joblist.claim(joblist.seeker())
    asked = joblist.count()
    assert 600 <= joblist.now - 1_000 <= 700, "it hears of the end of the scan soon"
    assert asked["Refresh"] <= 8, "each tries the lock"
    assert asked["Reread"] <= 20


def test_a_scan_that_began_before_the_question_is_no_reason_to_go_home() -> None:
    joblist = Joblist(present=index(3, Standing.ENDED))
    serials = iter((4, 5))

    def scan_ends() -> None:
        joblist.present = index(next(serials), Standing.ENDED)

    joblist.while_paused = scan_ends
    assert not joblist.claim(joblist.seeker())
    assert next(serials, None) is None, "the second scan was waited for"


def test_an_older_index_that_offers_a_job_is_good_enough_to_claim_it() -> None:
    joblist = Joblist(present=index(3, Standing.ENDED))

    def scan_ends() -> None:
        joblist.present, joblist.claimable = index(4, Standing.FREE), {"00000"}

    joblist.while_paused = scan_ends
    assert joblist.claim(joblist.seeker())
    assert joblist.now < 1_001


def test_before_there_is_any_index_the_listed_names_are_tried() -> None:
    names = [f"{number:05}" for number in range(1_000)]
    joblist = Joblist(names=names, claimable=set(names))
    seeker = joblist.seeker(offset=0.5)
    assert joblist.claim(seeker)
    assert isinstance(joblist.made[-1], Try)
    assert "00500" <= joblist.made[-1].name < "00516"
    assert joblist.claim(seeker)
    assert joblist.count()["Names"] == 0, "listed once"


def test_a_scan_is_waited_for_three_times_as_long_as_the_last_one_took_then_not_believed_in() -> None:
    joblist = Joblist(present=index(3, *[Standing.ENDED] * 50_000, took=1_000.0))
    seeker = joblist.seeker()
    forced: list[float] = []

    def scanned() -> Sighting | None:
        if isinstance(step := joblist.made[-1], Refresh) and step.force:
            forced.append(joblist.now)
            return own(index(4, Standing.ENDED))
        return None

    joblist.scanned = scanned
    assert not joblist.claim(seeker)
    assert 4_180 <= forced[0] <= 7_300


def test_a_scanner_that_was_stopped_for_a_night_makes_nobody_wait_as_long() -> None:
    joblist = Joblist(present=index(3, Standing.ENDED, took=40_000.0))
    forced = Refresh((3, 0), force=True)
    joblist.scanned = lambda: own(index(4, Standing.ENDED)) if joblist.made[-1] == forced else None
    assert not joblist.claim(joblist.seeker())
    assert joblist.now - 1_000 < 2_000


def test_jobs_of_the_dead_are_offered_like_free_ones() -> None:
    joblist = Joblist(present=index(3, Standing.OWNED, Standing.EXPIRED, Standing.ENDED), claimable={"00001"})
    assert joblist.claim(joblist.seeker())
    assert [step for step in joblist.made if isinstance(step, Try)] == [Try("00001", 1)]


def test_after_sixteen_misses_one_listing_drops_what_others_have_claimed() -> None:
    joblist = Joblist(present=index(3, *[Standing.FREE] * 5_000), claimable={"04000"})
    joblist.numbers = {f"{number:05}": 2 for number in range(5_000) if number != 4_000}
    assert joblist.claim(joblist.seeker())
    assert joblist.count()["Try"] == 17
    assert joblist.count()["Numbers"] == 1


def test_what_others_claimed_meanwhile_is_looked_at_before_going_home() -> None:
    # They may give it back at once, when their array is cancelled.
    fresh = own(index(3, *[Standing.FREE] * 300))
    joblist = Joblist(scanned=lambda: fresh, sign=Sign.DEAD)
    joblist.numbers = {f"{number:05}": 2 for number in range(300)}
    joblist.claimable = {f"{number:05}" for number in range(100, 300)}
    assert joblist.claim(joblist.seeker())
    assert joblist.count()["Numbers"] >= 1


def test_who_waits_for_a_fresh_index_tries_few_of_an_older_one() -> None:
    joblist = Joblist(present=index(3, Standing.ENDED))
    coming = iter((index(4, *[Standing.FREE] * 200), index(5, Standing.ENDED)))

    def scan_ends() -> None:
        joblist.present = next(coming)

    joblist.while_paused = scan_ends
    assert not joblist.claim(joblist.seeker())
    assert joblist.count()["Try"] == 4


def test_who_has_a_fresh_index_tries_all_that_it_offers() -> None:
    fresh = own(index(3, *[Standing.FREE] * 200))
    joblist = Joblist(scanned=lambda: fresh)
    assert not joblist.claim(joblist.seeker())
    assert len({step.name for step in joblist.made if isinstance(step, Try)}) == 200


@pytest.mark.parametrize("offers", [3, 20, 36, 200])
def test_an_idle_worker_tries_or_looks_at_each_job_that_a_fresh_index_offers(offers: int) -> None:
    joblist = Waiting(fresh=index(4, *[Standing.EXPIRED] * offers))
    assert not joblist.claim(joblist.seeker())
    tried = {step.name for step in joblist.made if isinstance(step, Try)}
    looked_at = {step.name for step in joblist.made if isinstance(step, Look)}
    assert len(tried) == max(min(offers, 4), offers - 32)
    assert len(tried | looked_at) == offers
    assert len(looked_at) <= 32


def test_a_job_of_a_fresh_index_is_claimed_although_others_were_faster_at_the_first_ones() -> None:
    joblist = Waiting(fresh=index(4, *[Standing.OWNED] * 500, *[Standing.EXPIRED] * 20))
    joblist.left = {f"{number:05}" for number in range(500, 520)}
    assert joblist.claim(joblist.seeker())
    assert joblist.now - 1_000 <= 10
    assert joblist.count()["Try"] == 5


def test_of_many_who_come_to_a_fresh_index_not_all_look_at_the_same_moment() -> None:
    moments = set()
    for seed in range(20):
        joblist = Waiting(fresh=index(4, *[Standing.EXPIRED] * 20))
        assert not joblist.claim(joblist.seeker(seed=seed))
        moments.add(round(joblist.now))
    assert len(moments) >= 5
    assert max(moments) - 1_000 <= 10


@dataclass
class Waiting(Joblist):
    """It knows an index that offers nothing, then scans `fresh`; of its jobs `left` are those not tried at once."""

    fresh: Sighting | None = None
    left: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.present = index(3, Standing.ENDED)

    def answer(self, step: Step) -> object:
        answer = super().answer(step)
        if isinstance(step, Refresh) and self.fresh is not None:
            self.present = self.fresh
            return own(self.fresh)
        if isinstance(step, Look):
            self.claimable = self.left - {made.name for made in self.made if isinstance(made, Try)}
            return Sign.DEAD if step.name in self.claimable else Sign.ALIVE
        return answer


class Overtaken(Joblist):
    """After the fresh scan and sixteen misses a newer index offers nothing, which is all given back."""

    def answer(self, step: Step) -> object:
        tried = [made.name for made in self.made if isinstance(made, Try)]
        if isinstance(step, Reread) and len(tried) == 116 and self.present is None:
            self.present = index(4, *[Standing.OWNED] * 100)
            self.claimable = {f"{number:05}" for number in range(100)} - set(tried[100:])
        if isinstance(step, Look):
            return Sign.DEAD if step.name in self.claimable else Sign.ALIVE
        return super().answer(step)


def test_what_a_newer_index_no_longer_offers_is_looked_at_too() -> None:
    fresh = own(index(3, *[Standing.FREE] * 100))
    joblist = Overtaken(scanned=lambda: fresh)
    assert joblist.claim(joblist.seeker())


def test_of_few_jobs_each_is_tried_and_nothing_listed() -> None:
    joblist = Joblist(present=index(3, *[Standing.FREE] * 100), claimable={"00099"})
    assert joblist.claim(joblist.seeker())
    assert joblist.count()["Numbers"] == 0


def test_of_many_owners_an_idle_worker_looks_at_some() -> None:
    held = own(index(3, *[Standing.OWNED] * 1_000))
    joblist = Joblist(scanned=lambda: held, names=["x"])
    assert not joblist.claim(joblist.seeker())
    assert joblist.count()["Look"] == 32


def test_of_few_owners_it_looks_at_each_until_it_is_seen_alive_or_dead() -> None:
    held = own(index(3, *[Standing.OWNED] * 20))
    joblist = Joblist(scanned=lambda: held, sign=Sign.SILENT, claimable={"00007"})

    def silence_lasts() -> None:
        if joblist.now > 1_180:
            joblist.sign = Sign.DEAD

    joblist.while_paused = silence_lasts
    assert joblist.claim(joblist.seeker())
    assert 1_180 < joblist.now < 1_200
    assert joblist.made[-1] == Try("00007")


def test_a_silence_that_never_becomes_certain_is_reported_after_little_more_than_a_lease() -> None:
    held = own(index(3, Standing.OWNED))
    joblist = Joblist(scanned=lambda: held, sign=Sign.SILENT)
    seeker = joblist.seeker()
    assert not joblist.claim(seeker)
    assert seeker.doubtful == ["00000"]
    assert joblist.now - 1_000 < 1.4 * 180
