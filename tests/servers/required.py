"""What a test does when a real part is missing: skip with a visible line, or fail where the part is required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

# The tests' own cluster mounts too: where it must run, a file system can be mounted. One script installs it and `cc`.
_COMES_WITH = {"mount": "slurm", "cc": "slurm"}


def missing(part: str, reason: str) -> NoReturn:
    """End the test: `part` (`s3`, `slurm`, `mount`, `cc`, `peers`) is not here.

    `BULKHAUL_REQUIRE=s3,slurm` turns the skip into a failure, and those of `mount` and `cc` with `slurm`.
    """
    required = os.environ.get("BULKHAUL_REQUIRE", "").split(",")
    if part in required or _COMES_WITH.get(part) in required:
        pytest.fail(f"{part} is required and missing: {reason}", pytrace=False)
    pytest.skip(f"{part} is missing: {reason}")
