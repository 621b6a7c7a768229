"""A joblist whose locks work, are missing, or do not exclude."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.locks import Lock, file_lock
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import (
    SHORT,
    no_lock,
    useless_lock,
)


@pytest.fixture(params=[file_lock, no_lock, useless_lock], ids=["locks", "no locks", "locks that do not exclude"])
def lock(request: pytest.FixtureRequest) -> Lock:
    """Each kind of lock in turn."""
    chosen: Lock = request.param
    return chosen


@pytest.fixture
def paths(tmp_path: Path) -> JoblistPaths:
    """The places of an empty joblist, with all of its folders."""
    paths = JoblistPaths(tmp_path)
    for folder in paths.folders():
        folder.mkdir(exist_ok=True)
    return paths


@pytest.fixture
def joblist(tmp_path: Path, lock: Lock) -> Joblist:
    """An empty joblist with that lock and short leases."""
    return Joblist(tmp_path, **SHORT, lock=lock)
