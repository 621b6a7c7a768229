"""Workers that sleep through their lease before any call; and a ledger without put-if-absent, which the judge sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from faults.figures import wakes
from faults.wake_judge import problems


@pytest.mark.slow
def test_who_wakes_after_its_lease_commits_nothing_and_leaves_line_1_to_its_successor(tmp_path: Path) -> None:
    figure = wakes.measure(tmp_path, amount=24, seed=6)
    assert (figure.trials, figure.failures) == (24, 0), figure
    assert int(figure.facts["taken_over"]) > 12


@pytest.mark.slow
def test_a_ledger_whose_links_replace_each_other_is_seen_as_stale_commits(tmp_path: Path) -> None:
    program = ("faults.broken_link", "faults.wake_trials")
    figure = wakes.run(tmp_path, amount=6, seed=6, program=program, call=("link",))
    assert int(figure.facts["stale_commits"]) > 0, figure


def _joblist(place: Path, line: str, *records: tuple[str, str | None]) -> tuple[Path, list[Path]]:
    """A folder whose ledger has `records`, each an owner and how it ended, and the accounts of two workers."""
    folder = place / "joblist"
    ledger = folder / ".bulkhaul" / "ledger"
    ledger.mkdir(parents=True)
    (folder / "a.txt").write_text(f"{line}\n/data\n---\n")
    for number, (owner, end) in enumerate(records, 1):
        record = {"generation": number, "kind": "end" if end else "claim", "end": end, "owner": owner}
        (ledger / f"a.{number:06}").write_text(json.dumps(record))
    return folder, [place / "sleeper", place / "rescuer"]


@pytest.mark.parametrize(
    ("line", "sleeper", "rescuer", "problem"),
    [
        ("success", "owns 1\nlost 1", "owns 2\nended 2", None),
        ("success", "owns 1\nsent 1 9.0\nsent 1 11.0\nlost 1", "owns 2\nended 2", None),
        ("success", "owns 1\nsent 1 11.0\nsent 1 11.1\nlost 1", "owns 2\nended 2", "stale send"),
        ("success", "owns 1\nended 1", "owns 2\nended 2", "stale commit"),
        ("success", "owns 2\nended 2", "owns 2\nended 2", "double claim"),
        ("success", "owns 1\nlost 1", "owns 2\nended 3", "stale commit"),
        ("success", "owns 1\nlost 1", "owns 2\nended 2\nowns 5", "lost record"),
        ("todo", "owns 1\nlost 1", "owns 2\nended 2", "line 1 is todo at end success"),
    ],
)
def test_the_judge_sees_what_may_not_be(
    tmp_path: Path, line: str, sleeper: str, rescuer: str, problem: str | None
) -> None:
    folder, accounts = _joblist(tmp_path, line, ("sleeper", None), ("rescuer", None), ("rescuer", "success"))
    for path, text in zip(accounts, (sleeper, rescuer), strict=True):
        path.write_text(text)
    found = problems(folder, accounts, woken=10.0, number_then=2)
    assert problem in found if problem else found == []


def test_the_judge_sees_an_end_by_another_than_the_owner(tmp_path: Path) -> None:
    folder, accounts = _joblist(tmp_path, "error", ("rescuer", None), ("sleeper", "error"))
    assert problems(folder, accounts, woken=10.0, number_then=1) == ["stale commit"]
