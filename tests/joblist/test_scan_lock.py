"""A scanner that holds its lock for ever: one of those who wait scans beside it, not all."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from bulkhaul.joblist.finder import Finder
from bulkhaul.joblist.locks import file_lock
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import go_on, nobody_gone


@pytest.fixture
def paths(tmp_path: Path) -> JoblistPaths:
    paths = JoblistPaths(tmp_path)
    for folder in paths.folders():
        folder.mkdir(exist_ok=True)
    return paths


@pytest.mark.parametrize(
    ("held", "force", "scans"),
    [(0, False, True), (1, False, False), (1, True, True), (2, True, False)],
    ids=["free", "another scans", "it takes too long", "and one has begun beside it"],
)
def test_who_may_scan(paths: JoblistPaths, held: int, force: bool, scans: bool) -> None:
    finder = Finder(paths, lock=file_lock, dead=nobody_gone)
    with ExitStack() as locks:
        for path in (paths.scan_lock, paths.second_scan_lock)[:held]:
            locks.enter_context(file_lock(path, 0))
        sighting = finder.refresh((0, 0), go_on, force=force)
    assert (sighting is not None and sighting.own) is scans
