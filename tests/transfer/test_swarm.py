"""What many workers reach together, simulated with the real decisions."""

from __future__ import annotations

import random
from math import inf

import pytest

from bulkhaul.transfer.limits import Rates
from transfer.swarm import SILENCE, Swarm

# The first half minute is left out where the rate has yet to be found.
FOUND = 30.0


def fairness(swarm: Swarm, start: float, end: float = inf) -> float:
    """Jain's index: 1 when all workers got the same."""
    shares = [sum(start <= moment < end for moment in worker.taken) for worker in swarm.workers]
    return float(sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares)))


@pytest.mark.parametrize("rate", [100, 400])
@pytest.mark.parametrize("workers", [1, 4, 50])
def test_workers_at_one_prefix_reach_the_rate_that_it_allows_and_are_seldom_refused(workers: int, rate: int) -> None:
    swarm = Swarm(workers, rate=rate)
    swarm.run(120)
    refused = sum(moment >= FOUND for moment in swarm.server.refused)
    reached = swarm.count(FOUND, 120)
    assert reached >= 0.95 * rate * (120 - FOUND)
    assert swarm.count(0, 120) >= 0.9 * rate * 120, "also while the rate is being found"
    assert refused <= 0.06 * reached
    assert fairness(swarm, FOUND) >= 0.98


@pytest.mark.parametrize("rate", [60, 200, 1_000])
@pytest.mark.parametrize("within", [0.0, 5.0, 40.0], ids=["together", "array", "staggered"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_eight_workers_soon_share_evenly_what_a_server_allows(rate: int, within: float, seed: int) -> None:
    starts = random.Random(seed)
    swarm = Swarm(8, rate=rate, starts=lambda _number: starts.uniform(0, within), seed=seed)
    end = within + 65
    swarm.run(end)
    refused = sum(moment >= within + FOUND for moment in swarm.server.refused)
    assert swarm.count(within, end) >= 0.9 * rate * (end - within)
    assert refused <= 0.1 * (refused + swarm.count(within + FOUND, end))
    assert fairness(swarm, within) >= 0.95
    assert fairness(swarm, within + 2, within + 12) >= 0.95, "not only in the long run"


@pytest.mark.parametrize("rate", [60, 200])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_eight_workers_that_all_begin_with_many_requests_find_the_rate_at_once(rate: int, seed: int) -> None:
    swarm = Swarm(8, rate=rate, speed=2.0 * rate + 200, in_flight=48, seed=seed)
    swarm.run(40)
    assert swarm.count(0, 40) >= 0.9 * rate * 40
    assert swarm.count(5, 20) >= 0.85 * rate * 15
    assert fairness(swarm, 2) >= 0.95


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_a_worker_had_that_leaves_is_shared_evenly_by_the_others(seed: int) -> None:
    swarm = Swarm(8, rate=200, seed=seed)
    swarm.run(60)
    swarm.leave(0)
    swarm.run(120)
    assert swarm.count(60, 120) >= 0.95 * 200 * 60
    del swarm.workers[0]
    assert fairness(swarm, 60) >= 0.95


def test_a_rate_that_changes_is_followed_both_ways() -> None:
    swarm = Swarm(4, rate=200)
    swarm.run(60)
    swarm.server.rate = 50.0
    swarm.run(90)
    before = len(swarm.server.refused)
    swarm.run(150)
    assert swarm.count(90, 150) >= 0.9 * 50 * 60
    assert len(swarm.server.refused) - before <= 0.05 * 50 * 60
    swarm.server.rate = 200.0
    swarm.run(270)
    assert swarm.count(210, 270) >= 0.9 * 200 * 60


def test_workers_that_come_later_take_their_part_from_the_others() -> None:
    swarm = Swarm(8, rate=200, starts=lambda number: 10.0 * number)
    swarm.run(180)
    refused = sum(moment >= 100 for moment in swarm.server.refused)
    assert swarm.count(0, 180) >= 0.9 * 200 * 180
    assert refused <= 0.02 * swarm.count(100, 180)
    assert fairness(swarm, 75) >= 0.95


@pytest.mark.parametrize("workers", [1, 2, 4, 50])
@pytest.mark.parametrize("apart", [0.0, 7.0], ids=["together", "one-by-one"])
def test_a_joblists_limit_is_kept_at_all_times_and_used_up(workers: int, apart: float) -> None:
    apart = min(apart, 60.0 / workers)
    swarm = Swarm(workers, limits=Rates(200.0, inf), starts=lambda number: apart * number)
    swarm.run(140)
    most = max(swarm.count(start, start + 5) for start in range(135))
    assert most <= 200 * 5 * 1.03
    assert swarm.count(90, 140) >= 0.97 * 200 * 50
    assert fairness(swarm, 95) >= 0.95


def test_a_limit_of_bytes_is_kept_likewise() -> None:
    swarm = Swarm(3, limits=Rates(inf, 100_000.0))  # a hundred requests of 1,000 bytes
    swarm.run(60)
    assert max(swarm.count(start, start + 5) for start in range(55)) <= 100 * 5 * 1.03
    assert swarm.count(20, 60) >= 0.97 * 100 * 40


def test_what_dead_workers_had_comes_back_when_they_were_silent_for_long_enough() -> None:
    swarm = Swarm(4, limits=Rates(200.0, inf))
    swarm.run(30)
    swarm.kill(0)
    swarm.kill(1)
    swarm.run(30 + SILENCE - 5)
    assert swarm.count(40, 80) <= 0.52 * 200 * 40, "they may yet be alive"
    swarm.run(160)
    assert swarm.count(120, 160) >= 0.97 * 200 * 40
    assert max(swarm.count(start, start + 5) for start in range(155)) <= 200 * 5 * 1.03


def test_a_worker_without_news_stops_using_its_part_before_others_may_use_it() -> None:
    swarm = Swarm(2, limits=Rates(200.0, inf))
    swarm.run(30)
    stuck = swarm.workers[0]
    swarm.silence(stuck)
    swarm.run(150)
    assert sum(moment > 30 + SILENCE * 2 / 3 + 1 for moment in stuck.taken) == 0
    assert swarm.count(110, 150) >= 0.97 * 200 * 40, "the other one has all of it"
    assert max(swarm.count(start, start + 5) for start in range(145)) <= 200 * 5 * 1.03
