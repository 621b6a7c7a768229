"""A scan on a slow file system looks at many jobs at once; what it finds is the same."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from opens import heard_opens

from bulkhaul.joblist.job import JobView, Owner
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.views import READERS, view_all
from joblist.standing_inputs import make_job, write_ledger

JOBS = 300


class SlowOpens:
    """Each open takes some milliseconds: the file system's answer, one level below our own code."""

    def __init__(self) -> None:
        self.most = 0
        self._present = 0
        self._lock = threading.Lock()

    def wait(self, _path: object, _flags: int) -> None:
        with self._lock:
            self._present += 1
            self.most = max(self.most, self._present)
        time.sleep(0.003)
        with self._lock:
            self._present -= 1


def joblist_of_all_kinds(folder: Path) -> Joblist:
    joblist = Joblist(folder)
    for number in range(JOBS):
        name = f"{number:03}"
        state = ("empty", "alive", "success", "released", "error")[number % 5]
        make_job(joblist, name, word={"alive": "ongoing", "success": "success", "error": "error"}.get(state, "todo"))
        write_ledger(joblist, state, name)
    return joblist


class Judge:
    """Who is dead; it must not be asked by two threads at once."""

    def __init__(self) -> None:
        self.asked = 0
        self._turn = threading.Lock()

    def __call__(self, _owner: Owner) -> bool:
        assert self._turn.acquire(blocking=False), "asked by two threads at once"
        try:
            self.asked += 1
            time.sleep(0.001)
        finally:
            self._turn.release()
        return False


def views(folder: Path, judge: Judge) -> list[JobView]:
    return list(view_all(JoblistPaths(folder), dead=judge))


def test_a_scan_on_a_slow_file_system_finds_the_same_in_the_same_order(tmp_path: Path) -> None:
    joblist_of_all_kinds(tmp_path)
    fast = views(tmp_path, Judge())
    judge = Judge()
    slow_opens = SlowOpens()
    with heard_opens(slow_opens.wait):
        assert views(tmp_path, judge) == fast
    assert 4 <= slow_opens.most <= READERS
    assert judge.asked == JOBS / 5


def test_on_a_fast_file_system_one_job_is_read_after_the_other(tmp_path: Path) -> None:
    joblist_of_all_kinds(tmp_path)
    before = threading.active_count()
    for _ in view_all(JoblistPaths(tmp_path), dead=lambda _owner: False):
        assert threading.active_count() == before
