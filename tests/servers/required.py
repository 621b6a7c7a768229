"""What a test does when a real part is missing: skip with a visible line, or fail where the part is required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(part: str, reason: str) -> NoReturn:
    """End the test: `part` (`s3`, `slurm`) is not here. `BULKHAUL_REQUIRE=s3,slurm` turns the skip into a failure."""
    if part in os.environ.get("BULKHAUL_REQUIRE", "").split(","):
        pytest.fail(f"{part} is required and missing: {reason}", pytrace=False)
    pytest.skip(f"{part} is missing: {reason}")
