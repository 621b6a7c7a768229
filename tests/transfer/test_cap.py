from __future__ import annotations

from math import inf

import pytest

from bulkhaul.transfer.cap import Cap


def answered(cap: Cap, start: float, *, taken: int, refused: int = 0) -> None:
    """A second of answers from the moment `start` on, as they would come: evenly, the refusals among the rest."""
    total = taken + refused
    for number in range(total):
        now = start + (number + 1) / total
        if (number + 1) * refused // total > number * refused // total:
            cap.throttled(now)
        else:
            cap.succeeded(now)


def waited(cap: Cap, start: float, seconds: float) -> None:
    """Somebody has to wait all the time."""
    for tenth in range(round(10 * seconds)):
        cap.grow(start + tenth / 10)


def settled_cap(rate: float) -> Cap:
    """A cap of `rate` after a second, the first one, in which more than a few were refused; it ends at 1.0."""
    cap = Cap()
    cap.agree(rate / 0.9, -1.0)  # the answers of the second after it say nothing
    answered(cap, 0.0, taken=90, refused=10)
    assert cap.rate == pytest.approx(rate)
    return cap


def test_what_s3_goes_on_to_take_after_the_first_refusal_is_a_first_idea_of_the_rate() -> None:
    cap = Cap()
    for _ in range(1_000):
        cap.succeeded(100.0)  # before any refusal: says nothing of what is allowed
    cap.throttled(100.0)
    assert cap.rate == inf
    answered(cap, 100.0, taken=50)
    assert cap.rate == pytest.approx(50, rel=0.05)


def test_the_first_idea_grows_fast_until_more_than_a_few_are_refused() -> None:
    cap = Cap()
    cap.throttled(0.0)
    answered(cap, 0.0, taken=50)
    waited(cap, 1.0, 3.0)
    assert cap.rate > 1.8 * 50
    answered(cap, 4.0, taken=98, refused=2)
    waited(cap, 5.0, 1.0)
    assert cap.rate > 2 * 50, "two of a hundred are no more than a few"
    for second in (6.0, 7.0):
        answered(cap, second, taken=80, refused=20)
    before = cap.rate
    waited(cap, 8.0, 2.0)
    assert cap.rate == before


@pytest.mark.parametrize(("refused", "left"), [(2, 0.98), (20, 0.8), (60, 0.7), (100, 0.7)])
def test_a_seconds_refusals_lower_the_rate_by_their_share_and_no_further_than_to_seven_tenths(
    refused: int, left: float
) -> None:
    cap = settled_cap(100.0)
    answered(cap, 1.0, taken=100 - refused, refused=refused)
    assert cap.rate == pytest.approx(100 * left, rel=0.01)


def test_refusals_within_one_round_trip_are_one_piece_of_news() -> None:
    cap = settled_cap(100.0)
    for _ in range(256):  # all that were in flight are refused together
        cap.throttled(1.3)
    assert cap.rate == pytest.approx(100)
    answered(cap, 1.3, taken=0, refused=100)
    assert cap.rate == pytest.approx(70)


def test_where_nothing_is_taken_a_little_is_still_tried() -> None:
    cap = Cap()
    for second in range(2_000):
        cap.throttled(float(second))
    assert 0 < cap.rate <= 0.2


def test_a_plateau_follows_then_growth_that_gains_speed() -> None:
    cap = settled_cap(100.0)
    seen = {}
    for tenth in range(10, 300):
        cap.grow(tenth / 10)
        seen[tenth / 10] = cap.rate
    assert seen[4.0] == pytest.approx(100)
    assert seen[10.0] == pytest.approx(105, rel=0.01)
    assert seen[21.0] > 150
    assert seen[29.9] > 250


def test_a_rate_that_nobody_waits_for_does_not_grow() -> None:
    cap = settled_cap(100.0)
    cap.grow(3.0)
    cap.grow(300.0)  # a second of waiting after minutes without any
    assert cap.rate < 250
    before = cap.rate
    cap.hold(300.0)
    cap.grow(302.0)
    assert cap.rate == before, "others were refused: a new plateau"


def test_refusals_of_what_was_sent_before_a_rate_was_known_do_not_lower_it_below_what_s3_took() -> None:
    cap = Cap()
    cap.agree(25.0, 0.0)
    answered(cap, 0.0, taken=0, refused=100)
    assert cap.rate == 25, "the second after it"
    answered(cap, 1.0, taken=30, refused=100)
    assert cap.rate == 25
    answered(cap, 2.0, taken=24, refused=100)
    assert cap.rate == pytest.approx(24, rel=0.02)


def test_the_first_answer_after_an_agreement_is_no_measurement_of_its_own() -> None:
    cap = Cap()
    cap.agree(100.0, 1_000.0)
    cap.throttled(1_000.1)
    cap.throttled(1_001.1)
    assert cap.rate == 100


def test_refusals_of_what_was_sent_before_the_first_idea_do_not_end_its_growth() -> None:
    cap = Cap()
    cap.throttled(0.0)
    answered(cap, 0.0, taken=50)
    answered(cap, 1.0, taken=20, refused=200)
    waited(cap, 1.0, 3.0)
    assert cap.rate > 1.8 * 50


def test_a_rate_agreed_on_without_refusals_of_ones_own_grows_from_then_on_whatever_the_clock_says() -> None:
    cap = Cap()
    machine_up = 90_000.0  # seconds: the clock began at the machine's start, not at this worker's
    cap.agree(40.0, machine_up)
    waited(cap, machine_up, 6.0)
    assert cap.rate < 40 * 1.03
