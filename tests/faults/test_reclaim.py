"""The jobs of the dead run again in time; and a worker that believes nothing it sees is seen to be late."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkhaul.joblist.heartbeat import LeaseTimes
from faults.figures import reclaim


@pytest.mark.slow
def test_the_job_of_a_dead_worker_is_taken_over_in_time(tmp_path: Path) -> None:
    figure = reclaim.run(tmp_path, amount=6, seed=1, times=LeaseTimes(3.0, 0.3))
    assert figure.failures == 0, figure
    assert float(figure.facts["silent node p50, s"]) >= 3 - 0.3, "not before a whole lease has passed since a beat"


@pytest.mark.slow
def test_who_takes_nothing_over_is_seen(tmp_path: Path) -> None:
    figure = reclaim.run(tmp_path, amount=2, seed=1, times=LeaseTimes(3.0, 0.3), seeker="faults.idler")
    assert figure.failures == 2


@pytest.mark.slow
def test_who_takes_from_the_living_is_seen(tmp_path: Path) -> None:
    figure = reclaim.run(tmp_path, amount=2, seed=1, times=LeaseTimes(3.0, 0.3), seeker="faults.grabber")
    assert figure.failures == 2
