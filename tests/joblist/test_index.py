"""The index: a hint that may be late, damaged or of a scan that was stopped, and misleads nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkhaul.joblist.index import Scan, read_index, refresh_index
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import SHORT, go_on, make_job


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


_GOOD = '{"serial": 7, "took": 0.1, "jobs": [["a", "free", "todo", 1, 1, 1]]}'


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("7", '"7"'),
        ("7", "null"),
        ("7", "1e400"),
        ("0.1", "null"),
        ("0.1", "NaN"),
        ("0.1", "-1"),
        ("0.1", "1e400"),
        pytest.param("0.1", "1" + 400 * "0", id="too large"),
        ('"a"', "1"),
        ('"free"', "[]"),
        ('"todo", 1', '"todo", "1"'),
        ('"todo", 1', '"todo", null'),
        ("1, 1]", "1, 1.5]"),
        ("1, 1]", "1, 1, 1]"),
    ],
)
def test_an_index_with_values_of_a_wrong_kind_is_no_index(paths: JoblistPaths, right: str, wrong: str) -> None:
    paths.index.write_text(_GOOD)
    assert _serial(paths) == 7
    paths.index.write_text(_GOOD.replace(right, wrong, 1))
    assert read_index(paths) is None
    with Joblist(paths.folder, **SHORT).session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        claim.release("for a test")
