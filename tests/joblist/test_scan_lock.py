"""A scanner that holds its lock for ever: one of those who wait scans beside it, not all."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from bulkhaul.joblist.finder import Finder
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.locks import file_lock
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import SHORT, go_on, make_job, nobody_gone


@pytest.mark.parametrize(
    ("held", "force", "alone", "scans"),
    [
        (0, False, False, True),
        (1, False, False, False),
        (1, True, False, True),
        (2, True, False, False),
        (2, True, True, True),
    ],
    ids=["free", "another scans", "it takes too long", "and one has begun beside it", "which takes too long as well"],
)
def test_who_may_scan(paths: JoblistPaths, held: int, force: bool, alone: bool, scans: bool) -> None:
    finder = Finder(paths, lock=file_lock, dead=nobody_gone)
    with ExitStack() as locks:
        for path in (paths.scan_lock, paths.second_scan_lock)[:held]:
            locks.enter_context(file_lock(path, 0))
        sighting = finder.refresh((0, 0), go_on, force=force, alone=alone)
    assert (sighting is not None and sighting.own) is scans


def test_two_scanners_that_never_end_keep_nobody_waiting_for_ever(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path, **SHORT)
    make_job(joblist, word="error")
    with joblist.session(this_owner()) as session, ExitStack() as locks:
        for name in ("scan.lock", "scan.second.lock"):
            locks.enter_context(file_lock(joblist.state_path(name), 0))
        end = time.monotonic() + 30

        def gate() -> None:
            assert time.monotonic() < end, "it waits for ever"

        assert session.claim_next(gate) is None
