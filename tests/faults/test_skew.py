"""Clocks that are off, on real processes; and a clock beyond what a lease survives, which the judge sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.figures import skew


@pytest.mark.slow
def test_no_clock_makes_an_owner_dead_or_a_dead_one_live(tmp_path: Path) -> None:
    pairs = [("right", "1.5"), ("1.5", "right"), ("+1d", "-1d"), ("-1d", "+1d")]
    figure = skew.run(tmp_path, pairs, seed=2)
    assert (figure.trials, figure.failures) == (4, 0), figure


@pytest.mark.slow
def test_an_observer_beyond_the_margin_is_seen_to_be_early(tmp_path: Path) -> None:
    assert skew.run(tmp_path, [("right", "12")], seed=2).facts["early"] == 1


@pytest.mark.slow
def test_an_observer_that_does_nothing_is_seen_to_miss(tmp_path: Path) -> None:
    assert skew.run(tmp_path, [("right", "right")], seed=2, program="faults.idler").facts["missed"] == 1
