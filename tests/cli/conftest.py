"""A joblist of three plates."""

from __future__ import annotations

from pathlib import Path

import pytest
from typed import TARGET, bulkhaul, make_results


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    """A joblist of four jobs, all todo."""
    results = make_results(tmp_path, {"J1": 4})
    bulkhaul("extract", "-i", results, "-o", tmp_path / "jobs", "--target", TARGET, folder=tmp_path)
    return tmp_path / "jobs"
