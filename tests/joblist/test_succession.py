"""What a claim takes over from the record before it."""

from __future__ import annotations

import pytest

from bulkhaul.joblist.heartbeat import Progress
from bulkhaul.joblist.ledger import End, Record, new_record
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.succession import claim_after, holder, is_deadly, is_open

LOST, HEIR = this_owner(), this_owner()


def claim(generation: int = 5, *, deaths: int = 0) -> Record:
    return new_record("a", generation, LOST, text="", facts={"last": "x/0"}, deaths=deaths)


def end(how: End) -> Record:
    return new_record("a", 6, LOST, end=how, text="", facts={"denied": True})


def test_the_first_claim_is_number_one() -> None:
    record = claim_after("a", None, HEIR, progress=None)
    assert (record.generation, record.end, record.facts, record.deaths) == (1, None, {}, 0)


@pytest.mark.parametrize(
    ("how", "facts"), [(End.RELEASED, {"denied": True}), (End.SUCCESS, {}), (End.ERROR, {})], ids=str
)
def test_what_a_release_left_goes_to_the_next_claim_and_nothing_else(how: End, facts: dict[str, bool]) -> None:
    record = claim_after("a", end(how), HEIR, progress=None)
    assert (record.generation, dict(record.facts), record.deaths) == (7, facts, 0)


@pytest.mark.parametrize(
    ("progress", "deaths", "last"),
    [
        (None, 3, "x/0"),
        (Progress("a", 5, last="x/9"), 3, "x/9"),
        (Progress("a", 5, files=1, last="x/9"), 0, "x/9"),
        (Progress("a", 5, bytes=1, last="x/9"), 0, "x/9"),
        (Progress("a", 3, files=1, last="y"), 3, "x/0"),
        (Progress("b", 5, files=1, last="y"), 3, "x/0"),
    ],
    ids=["unknown", "none", "a file", "a byte", "of an older claim", "of another job"],
)
def test_a_death_counts_unless_the_claim_made_progress(progress: Progress | None, deaths: int, last: str) -> None:
    record = claim_after("a", claim(deaths=2), HEIR, progress=progress)
    assert (record.generation, record.deaths, record.facts) == (6, deaths, {"last": last})
    assert is_deadly(record) is (deaths == 3)


def test_a_job_has_a_holder_from_its_claim_to_its_end() -> None:
    assert holder(claim()) is LOST
    assert [holder(record) for record in (None, end(End.SUCCESS), end(End.RELEASED))] == [None] * 3
    assert [is_open(record) for record in (None, claim(), end(End.RELEASED))] == [True] * 3
    assert not is_open(end(End.SUCCESS))
    assert not is_open(end(End.ERROR))
