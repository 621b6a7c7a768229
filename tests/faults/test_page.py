"""docs/reliability.md is what its results make of it; a failure is not counted away."""

from __future__ import annotations

from typing import Any

from faults.figure import RESULTS
from faults.page import BUGS, PAGE, ROWS, lines_of, render, since_last_failure


def run_of(
    claim: str, trials: int, failures: int = 0, *, commit: str = "abc", changed: bool = False, **facts: int
) -> dict[str, Any]:
    around = {"seed": 7, "command": "make it", "commit": commit, "changed": changed, "when": "today", "seconds": 90.0}
    return {"claim": claim, "trials": trials, "failures": failures, "facts": facts, **around}


def test_the_page_is_made_of_its_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(lines_of(RESULTS), lines_of(BUGS)), "make reliability"


def test_only_what_ran_after_the_last_failure_counts() -> None:
    runs = [run_of("a", 100), run_of("a", 10, 1), run_of("b", 5)]
    assert since_last_failure(runs, "a") == []
    mended = [run_of("a", 20, commit="def"), run_of("a", 30, commit="fed")]
    assert [run["trials"] for run in since_last_failure([*runs, *mended], "a")] == [20, 30]


def test_a_run_that_is_repeated_until_it_goes_well_does_not_count() -> None:
    assert since_last_failure([run_of("a", 10, 1), run_of("a", 10)], "a") == []


def test_a_run_of_changes_that_no_commit_has_does_not_count() -> None:
    assert since_last_failure([run_of("a", 10, changed=True)], "a") == []


def test_only_wakes_beside_a_successor_count() -> None:
    page = render([run_of("stale commits after SIGSTOP", 1000, taken_over=860)], [])
    assert "0 of 860 wakes beside a successor (95 %: below 0.35 %)" in page


def test_a_sample_of_the_cut_points_says_of_how_many() -> None:
    claim = "requests of a transfer at which a killed worker leaves what does not recover"
    assert "0 of 7 kills (95 %: below 35 %); cut points in all: 154" in render(
        [run_of(claim, 7, **{"cut points in all": 154})], []
    )


def test_a_figure_says_how_many_trials_and_what_they_prove() -> None:
    campaigns = [run_of("campaigns", 400, jobs=2800, **{"objects judged": 500_000, "fault: kill -9": 3}) for _ in "12"]
    page = render(campaigns, [])
    assert "| No false success | 0 in 1,000 campaigns | 0 of 800 campaigns (95 %: below 0.38 %) | `make it` |" in page
    assert "0 of 1,000,000 objects (95 %: below 3.0e-06)" in page
    assert "| kill -9 | 6 |" in page


def test_a_claim_that_nobody_measured_says_so() -> None:
    page = render([run_of("campaigns", 10, 1)], [])
    assert page.count("| not measured |") == len(ROWS)
