from __future__ import annotations

import threading
import time
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import Stopped, StorageError
from bulkhaul.transfer.limits import NOTHING, UNLIMITED, Allowance, Limiter, Limits, Rates
from transfer.rig import NOTICED


@given(
    rate=st.floats(0.5, 1e6),
    asks=st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 1e4)), min_size=1, max_size=50),
)
def test_no_stretch_of_time_lets_more_pass_than_the_rate_a_tenth_of_a_second_and_one_request(
    rate: float, asks: list[tuple[float, float]]
) -> None:
    allowance = Allowance()
    allowance.set_rate(0.0, rate)
    now, passed = 0.0, []
    for pause, amount in asks:
        now += pause
        ticket = allowance.ask(now, amount)
        now += allowance.left(now, ticket)
        passed.append((now, amount))
    for first, (start, _) in enumerate(passed):
        for end, largest in passed[first:]:
            inside = sum(amount for moment, amount in passed[first:] if moment <= end)
            most = max(largest, *(amount for _, amount in passed))
            assert inside <= (rate * (end - start + 0.1) + 2 * most) * (1 + 1e-6)


def test_who_waits_is_served_in_order_and_a_late_waker_loses_nothing() -> None:
    allowance = Allowance()
    allowance.set_rate(0.0, 10.0)
    tickets = [allowance.ask(0.0, 1) for _ in range(6)]
    assert [allowance.left(0.0, ticket) for ticket in tickets] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert allowance.left(0.5, tickets[-1]) == 0
    assert allowance.left(0.5, allowance.ask(0.5, 1)) == pytest.approx(0.1), "all six have passed, none is forgotten"


def test_a_large_request_passes_and_those_after_it_wait_it_out() -> None:
    allowance = Allowance()
    allowance.set_rate(0.0, 100.0)
    assert allowance.left(0.0, allowance.ask(0.0, 1_000)) == 0
    assert allowance.left(0.0, allowance.ask(0.0, 1)) == pytest.approx(10)


def test_a_change_of_the_rate_holds_for_all_who_wait() -> None:
    allowance = Allowance()
    allowance.set_rate(0.0, 1.0)
    allowance.ask(0.0, 10)
    ticket = allowance.ask(0.0, 1)
    assert allowance.left(0.0, ticket) == pytest.approx(10)
    allowance.set_rate(0.0, 0.0)
    assert allowance.left(5.0, ticket) == inf
    allowance.set_rate(5.0, 100.0)
    assert allowance.left(5.0, ticket) == pytest.approx(0.1)
    allowance.set_rate(5.0, inf)
    assert allowance.left(5.0, ticket) == 0
    allowance.set_rate(6.0, 1.0)
    assert allowance.left(6.0, allowance.ask(6.0, 1)) == 0, "nothing is owed for what no rate held back"


def test_what_is_given_back_lets_others_pass() -> None:
    limiter = Limiter(Rates(1.0, 100.0))
    limiter.ask(0.0, 10)
    limiter.ask(0.0, 1_000)
    third = limiter.ask(0.0, 10)
    assert limiter.left(0.0, third) > 9
    limiter.give_back(1_000)
    assert limiter.left(0.0, third) == pytest.approx(1)


def test_the_least_of_all_limits_counts_and_what_waits_for_which_is_told() -> None:
    limiter = Limiter(Rates(10.0, 1_000.0), part=Rates(5.0, inf))
    limiter.look(0.0)
    for _ in range(3):
        last = limiter.ask(0.0, 1)
    assert limiter.left(0.0, last) == pytest.approx(0.4)
    use = limiter.look(1.0)
    assert (use.seconds, use.requests, use.nbytes, use.hungry) == (1.0, 3, 3, (True, False))
    limiter.cap.agree(2.0, 1.0)
    limiter.ask(1.0, 2_000)
    assert limiter.left(1.0, limiter.ask(1.0, 1)) > 1.8
    assert limiter.look(2.0).hungry == (False, True), "the longer wait tells"
    assert limiter.look(3.0).hungry == (False, False)


def test_a_part_counts_until_its_moment_and_then_nothing_may_be_sent() -> None:
    limiter = Limiter(part=NOTHING)
    limiter.grant(Rates(100.0, inf), until=40.0)
    assert limiter.left(40.0, limiter.ask(40.0, 1)) == 0
    assert limiter.left(40.1, limiter.ask(40.1, 1)) == inf
    unlimited = Limiter(Rates(5.0, inf))
    unlimited.grant(UNLIMITED, until=0.0)
    assert unlimited.left(1.0, unlimited.ask(1.0, 1)) == 0, "a joblist without limits grants none"


def test_limits_are_looked_at_only_where_there_are_any() -> None:
    assert not Limits().active
    assert Limits(Rates(5.0, inf)).active
    assert Limits(part=NOTHING).active
    limits, heard = Limits(), []
    limits.on_refusal = lambda: heard.append(1)
    limits.throttled()
    limits.throttled()
    assert limits.active
    assert heard == [1]


def test_many_threads_together_keep_the_rate() -> None:
    limits = Limits(Rates(200.0, inf))
    passed: list[float] = []

    def send() -> None:
        for _ in range(10):
            limits.take(1, gate=lambda: None)
            passed.append(time.monotonic())

    threads = [threading.Thread(target=send) for _ in range(20)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(passed) == 200
    assert max(passed) - begun >= 199 / 200 - 0.1, "200 requests at 200 a second"
    assert max(passed) - begun < 3


def test_a_stop_ends_the_wait_and_gives_back_what_was_asked_for() -> None:
    limits = Limits(Rates(0.01, inf))
    limits.take(1, gate=lambda: None)
    stopping = time.monotonic() + 0.5

    def gate() -> None:
        if time.monotonic() > stopping:
            raise Stopped("worker", "time limit", "again")

    begun = time.monotonic()
    with pytest.raises(Stopped):
        limits.take(1, gate=gate)
    assert time.monotonic() - begun < 0.5 + NOTICED
    with limits.held() as (limiter, now):
        assert limiter.left(now, limiter.ask(now, 1)) == pytest.approx(100, abs=5), "one before it, not two"


def test_who_waits_for_a_part_hears_why_it_never_comes() -> None:
    limits = Limits(part=NOTHING)
    limits.refuse(StorageError("rates", "not to be written", "mend it"))
    with pytest.raises(StorageError):
        limits.take(1, gate=lambda: None)
    limits.refuse(None)
    with limits.held() as (limiter, _now):
        limiter.grant(Rates(5.0, inf), until=inf)
    limits.take(1, gate=lambda: None)
