"""What a test does when a real part is missing: skip with a visible line, or fail where the part is required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

# The tests' own cluster mounts too: where it must run, a file system can be mounted. One script installs it all.
_COMES_WITH = {"mount": "slurm", "cc": "slurm", "strace": "slurm", "old server": "s3"}


def missing(part: str, reason: str) -> NoReturn:
    """End the test: `part` (`s3`, `old server`, `slurm`, `mount`, `cc`, `strace`, `peers`) is not here.

    `BULKHAUL_REQUIRE=s3,slurm` turns the skip into a failure, that of `old server` with `s3`, those of `mount`, `cc`
    and `strace` with `slurm`.
    """
    required = os.environ.get("BULKHAUL_REQUIRE", "").split(",")
    if part in required or _COMES_WITH.get(part) in required:
        pytest.fail(f"{part} is required and missing: {reason}", pytrace=False)
    pytest.skip(f"{part} is missing: {reason}")
