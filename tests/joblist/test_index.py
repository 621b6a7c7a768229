"""The index: a hint that may be late, damaged or of a scan that was stopped, and misleads nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkhaul.joblist.index import Scan, read_index, refresh_index
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import make_job


@pytest.fixture
def paths(tmp_path: Path) -> JoblistPaths:
    """A joblist of one job that was never scanned."""
    make_job(Joblist(tmp_path))
    paths = JoblistPaths(tmp_path)
    for folder in paths.folders():
        folder.mkdir(exist_ok=True)
    return paths


def _serial(paths: JoblistPaths) -> int:
    present = read_index(paths)
    assert present is not None
    return present.serial


def test_a_scan_that_was_stopped_and_ends_late_takes_nothing_back(paths: JoblistPaths) -> None:
    joblist = Joblist(paths.folder)
    stopped = Scan(paths)
    for view in joblist.iterate():
        stopped.add(view)
    for _ in range(3):
        refresh_index(paths, joblist.iterate())
    assert _serial(paths) == 3
    assert [row.name for row in stopped.store().rows] == ["a"], "its own worker still has what it saw"
    assert _serial(paths) == 3
    refresh_index(paths, joblist.iterate())
    assert _serial(paths) == 4


def test_of_two_scans_beside_each_other_both_are_stored(paths: JoblistPaths) -> None:
    one, other = Scan(paths), Scan(paths)
    for view in Joblist(paths.folder).iterate():
        other.add(view)
    one.store()
    other.store()
    present = read_index(paths)
    assert present is not None
    assert (present.serial, len(present.rows)) == (1, 1)
