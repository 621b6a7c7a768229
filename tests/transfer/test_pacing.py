from __future__ import annotations

from collections.abc import Callable

from bulkhaul.transfer.pacing import Pacing, SharedPacing


def drive(pacing: Pacing, rate: Callable[[int], float], *, seconds: float, now: float = 0.0) -> float:
    """Run a simulated server that gives `rate(limit)` requests a second; returns the time at the end."""
    end = now + seconds
    while now < end:
        step = 1 / rate(pacing.limit)
        now += step
        pacing.finished(now, seconds=pacing.limit * step, nbytes=16_384)
    return now


def test_the_limit_grows_while_that_gains() -> None:
    pacing = Pacing(most=64)
    drive(pacing, lambda limit: 25.0 * limit, seconds=20)  # a long way: each request takes 40 ms
    assert pacing.limit == 64


def test_a_long_way_is_filled_within_little_more_than_a_second() -> None:
    pacing = Pacing(most=256)
    drive(pacing, lambda limit: 25.0 * limit, seconds=1.2)
    assert pacing.limit == 256


def test_a_slow_first_answer_begins_with_more_and_fills_a_long_way_sooner() -> None:
    pacing = Pacing(most=512)
    pacing.expect(0.040)
    assert pacing.limit == 105
    drive(pacing, lambda limit: 25.0 * limit, seconds=0.9)
    assert pacing.limit == 512


def test_what_was_expected_counts_only_before_anything_is_measured() -> None:
    pacing = Pacing(most=512)
    pacing.expect(9.0)
    assert pacing.limit == 128, "a server that was busy is not stormed"
    near = Pacing(most=512)
    near.expect(0.006)
    assert near.limit == 4, "so long takes a listing on the same machine"
    drive(near, lambda _limit: 1_000.0, seconds=0.1)
    near.expect(0.040)
    assert near.limit == 4


def test_the_limit_stays_where_more_does_not_help() -> None:
    pacing = Pacing(most=256)
    seen = []
    now = 0.0
    for _ in range(600):
        now = drive(pacing, lambda limit: min(100.0 * limit, 1_000.0), seconds=0.1, now=now)
        seen.append(pacing.limit)
    assert sum(limit == 16 for limit in seen) >= 0.9 * len(seen), "the next beyond the knee at 10"
    assert max(seen) == 32, "one look further each quarter of a minute"
    assert min(seen) == 4


def test_a_server_that_gives_a_little_more_each_time_is_given_more() -> None:
    """SeaweedFS did: 1,750 requests a second with 4 in flight, 2,550 with 64."""
    pacing = Pacing(most=256)
    drive(pacing, lambda limit: 2_700.0 * limit / (limit + 3), seconds=5)
    assert pacing.limit == 32


def test_a_begin_is_no_more_than_the_most_and_is_no_end() -> None:
    pacing = Pacing(most=48)
    pacing.begin_with(64)
    assert pacing.limit == 48
    pacing.begin_with(8)
    assert pacing.limit == 48
    slow = Pacing(most=256)
    slow.begin_with(64)
    drive(slow, lambda _limit: 1_000.0, seconds=2)
    assert slow.limit == 64
    slow.begin_with(128)
    assert slow.limit == 64, "something has been measured by now"


def test_a_shared_pacing_times_requests_with_its_clock() -> None:
    times = iter(float(number) for number in range(1_000))
    shared = SharedPacing(Pacing(most=64), clock=lambda: next(times))
    assert [shared.timed(lambda: "answer", nbytes=1) for _ in range(16)] == ["answer"] * 16
    assert shared.limit() == 8


def test_the_first_window_is_a_warm_up() -> None:
    """Threads, connections and the plan only begin in it: judged, it made each later one look like a gain."""
    pacing = Pacing(most=64)
    for _ in range(8):
        pacing.finished(0.3, seconds=0.3, nbytes=16_384)
    assert pacing.limit == 4
    drive(pacing, lambda _limit: 1_000.0, seconds=5, now=0.3)
    assert pacing.limit == 4


def test_what_a_limit_held_back_is_not_judged() -> None:
    """A worker that was refused from its first second on took four in flight for all that the line gives."""
    pacing = Pacing(most=64)
    now = 0.0
    for _ in range(100):
        now = drive(pacing, lambda _limit: 50.0, seconds=0.1, now=now)
        pacing.held_back(now)
    assert pacing.limit == 4
    drive(pacing, lambda limit: 25.0 * limit, seconds=2, now=now)
    assert pacing.limit == 64


def test_a_shared_pacing_leaves_out_what_was_held_back_meanwhile() -> None:
    held = 0
    now = 0.0

    def request() -> None:
        nonlocal now, held
        now, held = now + 0.1, held + limited

    shared = SharedPacing(Pacing(most=64), held_back=lambda: held, clock=lambda: now)
    limited = True
    for _ in range(100):
        shared.timed(request, nbytes=1)
    assert shared.limit() == 4
    limited = False
    for _ in range(17):
        shared.timed(request, nbytes=1)
    assert shared.limit() == 8
