from __future__ import annotations

import string
from itertools import pairwise
from math import inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.transfer.limits import NOTHING, UNLIMITED, Limiter, Rates
from bulkhaul.transfer.sharing import Entry, Member, decode, parts, raised

RATES = st.floats(0, 1e12) | st.just(inf)
WANTS = st.lists(RATES, min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("total", "wants", "expected"),
    [
        (90.0, [inf, inf, inf], [30, 30, 30]),
        (90.0, [15.0, inf, inf], [15, 37.5, 37.5]),
        (90.0, [0.0, inf, inf], [3, 43.5, 43.5]),  # a tenth of an even part is kept for it
        (90.0, [10.0, 20.0, 30.0], [20, 30, 40]),  # what nobody wants is divided evenly
        (inf, [1.0, inf], [inf, inf]),
    ],
)
def test_a_total_is_divided_by_what_each_wants(total: float, wants: list[float], expected: list[float]) -> None:
    assert parts(total, wants) == pytest.approx(expected)


@given(total=st.floats(1e-3, 1e12), wants=WANTS)
def test_parts_make_up_the_total_and_who_wants_more_gets_no_less(total: float, wants: list[float]) -> None:
    found = parts(total, wants)
    assert isclose(sum(found), total, rel_tol=1e-6)
    assert min(found) >= 0.1 * total / len(wants) * (1 - 1e-6)
    by_want = [part for _, part in sorted(zip(wants, found, strict=True))]
    assert all(less <= more * (1 + 1e-6) for less, more in pairwise(by_want))


@given(total=st.floats(1.0, 1e9), workers=st.integers(1, 12), turns=st.lists(st.tuples(st.integers(0, 11), RATES)))
def test_what_is_granted_never_exceeds_the_total_whoever_turns_and_whatever_they_want(
    total: float, workers: int, turns: list[tuple[int, float]]
) -> None:
    board = [(inf, 0.0)] * workers
    for number, want in turns:
        place = number % workers
        others = board[:place] + board[place + 1 :]
        board[place] = (want, raised(total, (want, board[place][1]), others))
        assert sum(granted for _, granted in board) <= total * (1 + 1e-9)


@given(wants=WANTS, total=st.floats(1.0, 1e9))
def test_all_of_it_is_granted_after_a_few_turns_of_everybody(wants: list[float], total: float) -> None:
    board = [(want, 0.0) for want in wants]
    for _ in range(12):
        for place, (want, granted) in enumerate(board):
            board[place] = (want, raised(total, (want, granted), board[:place] + board[place + 1 :]))
    assert sum(granted for _, granted in board) >= 0.99 * total


ENTRIES = st.builds(
    Entry,
    st.text(string.hexdigits, min_size=1, max_size=8),
    st.builds(Rates, RATES, RATES),
    st.builds(Rates, RATES, RATES),
    RATES,
    st.floats(0, 1e9),
    st.floats(0, 1e9),
)


@given(ENTRIES)
def test_an_entry_survives_being_written(entry: Entry) -> None:
    text = entry.encode()
    assert len(text) <= 120
    found = decode(text)
    assert found is not None
    assert found.bucket == entry.bucket
    assert (*found.want, *found.granted, *found[3:]) == pytest.approx(
        (*entry.want, *entry.granted, *entry[3:]), rel=1e-5
    )


@given(st.text() | st.lists(st.sampled_from(["nan", "-1", "inf", "0", "x", "1e999"]), max_size=10).map(" ".join))
def test_what_is_no_entry_is_none_or_harmless(text: str) -> None:
    entry = decode(text)
    assert entry is None or all(rate >= 0 for rate in (*entry.want, *entry.granted, *entry[3:]))


def test_a_worker_that_is_not_known_yet_uses_nothing_of_what_is_divided() -> None:
    member = Member(Rates(100.0, inf))
    limiter = Limiter(part=member.nothing())
    assert member.turn(limiter, 0.0, [], known=False, until=40.0).granted == Rates(0.0, inf)
    assert limiter.part == Rates(0.0, inf)
    assert member.turn(limiter, 1.0, [], known=True, until=41.0).granted == Rates(100.0, inf)
    member.leave(limiter)
    assert limiter.part == Rates(0.0, inf)


def test_a_cap_is_the_mean_of_all_estimates_divided_among_those_at_this_bucket() -> None:
    member = Member(UNLIMITED)
    limiter = Limiter()
    member.move(limiter, "here")
    here = Entry("here", cap=300.0)
    member.turn(limiter, 0.0, [here, here._replace(cap=600.0), Entry("elsewhere", cap=1.0)], known=True, until=inf)
    assert limiter.active
    assert limiter.cap.rate == pytest.approx(450 / 3)
    limiter.ask(0.0, 1)
    limiter.left(0.0, limiter.ask(0.0, 1))  # has to wait: it wants what it can get
    assert member.turn(limiter, 1.0, [here], known=True, until=inf).cap == pytest.approx(450)
    assert limiter.cap.rate == pytest.approx(375 / 2), "one has gone: two share what both take it for"


def test_what_was_reached_together_just_now_is_never_given_up_for_an_estimate() -> None:
    member = Member(UNLIMITED)
    limiter = Limiter()
    member.move(limiter, "here")
    others = [Entry("here", cap=10.0, reached=50.0, throttled=1)] * 3
    member.turn(limiter, 0.0, others, known=True, until=inf)
    assert limiter.cap.rate == pytest.approx(0.95 * 150 / 4)


def test_another_bucket_begins_without_a_cap() -> None:
    member = Member(UNLIMITED)
    limiter = Limiter()
    member.move(limiter, "here")
    limiter.cap.agree(5.0, 0.0)
    member.move(limiter, "here")
    assert limiter.active
    member.move(limiter, "elsewhere")
    assert not limiter.active


def test_a_worker_with_little_to_send_leaves_the_rest_to_others() -> None:
    member = Member(Rates(100.0, inf))
    limiter = Limiter(part=member.nothing())
    other = Entry("-", want=UNLIMITED, granted=NOTHING)
    now = 0.0
    for _ in range(6):
        entry = member.turn(limiter, now, [other], known=now > 0, until=inf)
        for _ in range(40):
            now += 0.25
            limiter.left(now, limiter.ask(now, 10))
    assert entry.want.requests == pytest.approx(1.25 * 4)
    assert entry.granted.requests == pytest.approx(5.0), "not even a tenth of an even part less"


def test_a_rate_that_was_found_alone_is_one_beside_what_the_others_reach() -> None:
    member = Member(UNLIMITED)
    limiter = Limiter()
    member.move(limiter, "here")
    limiter.cap.agree(50.0, 0.0)
    greedy = Entry("here", reached=300.0)
    assert member.turn(limiter, 0.0, [greedy], known=True, until=inf).cap == pytest.approx(350)
    assert limiter.cap.rate == pytest.approx(350 / 2)


def test_others_that_have_told_nothing_yet_count_as_the_rest_and_if_all_are_new_there_is_no_idea() -> None:
    """Eight workers that met the limit at the same moment took what they knew of, a tenth, for all that it allows."""
    member = Member(UNLIMITED)
    limiter = Limiter()
    member.move(limiter, "here")
    limiter.cap.agree(5.0, 0.0)
    new = Entry("here")
    assert member.turn(limiter, 1.0, [new] * 7, known=True, until=inf).cap == inf
    assert limiter.cap.rate == 5
    some = [new._replace(reached=6.0, throttled=50.0), new._replace(reached=4.0), *[new] * 5]
    assert member.turn(limiter, 2.0, some, known=True, until=inf).cap == pytest.approx(5 + 7 * 5)


def test_who_was_refused_wants_more_than_it_got() -> None:
    member = Member(UNLIMITED)
    limiter = Limiter()
    member.turn(limiter, 0.0, [], known=True, until=inf)
    limiter.ask(1.0, 1)
    limiter.throttled(1.0)
    assert member.turn(limiter, 10.0, [], known=True, until=inf).want.requests == inf
    member.turn(limiter, 20.0, [], known=True, until=inf)
    assert member.turn(limiter, 30.0, [], known=True, until=inf).want.requests == 0


def test_turns_come_soon_until_the_parts_of_what_s3_allows_have_been_found() -> None:
    member = Member(UNLIMITED)
    limiter = Limiter()
    member.turn(limiter, 0.0, [], known=True, until=inf)
    assert not member.unsettled, "nothing was refused"
    limiter.throttled(1.0)
    other = Entry("-", cap=100.0)
    seen = []
    for number in range(12):
        others = [other] if number < 8 else [other, other]
        now = 2.0 + number
        member.turn(limiter, now, others, known=True, until=inf)
        limiter.left(now, [limiter.ask(now, 1) for _ in range(20)][-1])  # it wants what it can get
        seen.append(member.unsettled)
    assert seen == [True] * 5 + [False] * 3 + [True] * 4, "one more came: a third of the part is another's"


def test_a_worker_that_begins_keeps_to_what_others_found_before_its_first_request() -> None:
    member = Member(UNLIMITED)
    limiter = Limiter()
    member.move(limiter, "here")
    assert not member.begin(limiter, 0.0, [Entry("here"), Entry("elsewhere", cap=9.0)])
    assert not limiter.active
    assert member.begin(limiter, 0.0, [Entry("here", cap=100.0)])
    assert limiter.cap.rate == pytest.approx(50)
