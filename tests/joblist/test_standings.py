"""Each cell of the table: line 1 against the ledger, and what a scan and a worker make of it."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from bulkhaul.joblist.job import Ledger, Standing, standing_of
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import SHORT, beating, go_on, line_1, make_job, write_ledger

# word, ledger, standing, line 1 after a scan, counted as, claimable
TABLE = [
    ("todo", "empty", "free", "todo", "todo", True),
    ("todo", "alive", "owned", "todo", "ongoing", False),
    ("todo", "expired", "free", "todo", "todo", True),
    ("todo", "released", "free", "todo", "todo", True),
    ("todo", "error", "free", "todo", "todo", True),
    ("todo", "success", "free", "todo", "todo", True),
    ("ongoing", "empty", "unproven", "ongoing", None, False),
    ("ongoing", "alive", "owned", "ongoing", "ongoing", False),
    ("ongoing", "expired", "expired", "ongoing", "ongoing", True),
    ("ongoing", "released", "free", "todo", "todo", True),
    ("ongoing", "error", "ended", "error", "error", False),
    ("ongoing", "success", "ended", "success", "success", False),
    ("error", "empty", "parked", "error", "error", False),
    ("error", "alive", "owned", "error", "ongoing", False),
    ("error", "expired", "parked", "error", "error", False),
    ("error", "released", "parked", "error", "error", False),
    ("error", "error", "ended", "error", "error", False),
    ("error", "success", "ended", "success", "success", False),
    ("success", "empty", "unproven", "success", None, False),
    ("success", "alive", "owned", "success", "ongoing", False),
    ("success", "expired", "parked", "success", None, False),
    ("success", "released", "unproven", "success", None, False),
    ("success", "error", "ended", "error", "error", False),
    ("success", "success", "ended", "success", "success", False),
    ("done", "empty", "unproven", "done", None, False),
    *[
        ("done", state, "invalid", "done", None, False)
        for state in ("alive", "expired", "released", "error", "success")
    ],
    *[
        ("paused", state, "invalid", "paused", None, False)
        for state in ("empty", "alive", "expired", "released", "error", "success")
    ],
]


@pytest.fixture
def joblist(tmp_path: Path) -> Joblist:
    return Joblist(tmp_path, **SHORT)


@pytest.mark.parametrize(("word", "state", "standing", "shown", "status", "claimable"), TABLE)
def test_line_1_against_the_ledger(
    joblist: Joblist, word: str, state: str, standing: str, shown: str, status: str | None, claimable: bool
) -> None:
    path = make_job(joblist, word=word)
    owner = write_ledger(joblist, state)
    before = path.read_bytes()

    [view] = joblist.scan()

    assert (view.word, view.standing, view.status) == (word, standing, status)
    assert line_1(joblist) == shown
    if shown == word:
        assert path.read_bytes() == before
    alive = beating(joblist, owner) if state == "alive" else nullcontext()
    with alive, joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert (claim is not None) is claimable
        if claim is not None:
            assert line_1(joblist) == "ongoing"
            claim.release("for a test")
        else:
            assert line_1(joblist) == shown


def test_the_table_is_complete() -> None:
    cells = {(word, state) for word, state, *_ in TABLE}
    states = ("empty", "alive", "expired", "released", "error", "success")
    assert cells == {
        (word, state) for word in ("todo", "ongoing", "error", "success", "done", "paused") for state in states
    }


def test_no_other_word_is_ever_free() -> None:
    for state in Ledger:
        assert standing_of("", state) == (Standing.INVALID, None)
        assert standing_of("to do", state) == (Standing.INVALID, None)


def test_a_first_claim_between_the_two_looks_is_not_taken_for_an_unproven_job(
    joblist: Joblist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger had no record, line 1 says `ongoing`: a worker was faster than the reader."""
    path = make_job(joblist)
    opened = os.open

    def claim_and_open(name: object, *arguments: int, **more: int) -> int:
        if name == str(path) and line_1(joblist) == "todo":
            write_ledger(joblist, "alive")
            path.write_bytes(path.read_bytes().replace(b"todo", b"ongoing", 1))
        return opened(name, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", claim_and_open)
    view = joblist.read("a")

    assert (view.word, view.standing, view.status) == ("ongoing", "owned", "ongoing")


@pytest.mark.parametrize("word", ["TODO", "Todo  ", " todo\t"])
def test_a_status_may_be_typed_in_capitals_and_with_blanks(joblist: Joblist, word: str) -> None:
    make_job(joblist, word=word)
    assert joblist.read("a").standing is Standing.FREE
