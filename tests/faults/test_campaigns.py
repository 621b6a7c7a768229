"""A few random campaigns with fixed seeds; `make campaign` runs as many as one likes."""

from __future__ import annotations

import pytest

from faults.campaign.run import LEAST_FAULTS, Parts
from faults.campaigns import campaign_in

pytestmark = [pytest.mark.s3, pytest.mark.slow]

SEEDS = (1, 3, 4)
FOUND = (2, 101, 102, 106, 210, 311, 1034, 1250, 2001, 50003)
"""Seeds that once found something: docs/reliability.md tells what."""


@pytest.mark.parametrize("seed", [*SEEDS, *FOUND])
def test_a_campaign_leaves_nothing_lost_and_nothing_wrong(parts: Parts, seed: int) -> None:
    verdict = campaign_in(seed, parts)
    assert verdict.failures == []
    assert verdict.faults.total() >= LEAST_FAULTS
