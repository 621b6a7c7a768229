"""No two of 64 processes ever own the same claim; and on a file system without put-if-absent the judge sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.figures import claims


@pytest.mark.slow
def test_of_64_processes_at_the_same_jobs_no_two_own_one(tmp_path: Path) -> None:
    figure = claims.measure(tmp_path, amount=20_000, seed=4)
    assert figure.failures == 0, figure
    assert figure.trials >= 20_000
    assert int(figure.facts["links_that_lost"]) > 4_000, "they raced"
    assert int(figure.facts["claims"]) > 500


@pytest.mark.slow
def test_links_that_replace_each_other_are_seen_as_double_claims(tmp_path: Path) -> None:
    figure = claims.run(tmp_path, amount=4_096, seed=4, program=("faults.broken_link", "faults.claim_crowd"))
    assert int(figure.facts["double_claims"]) > 1_000
