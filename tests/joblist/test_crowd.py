"""Sixteen real processes on one joblist, killed at random."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bulkhaul.joblist.joblist import Joblist
from joblist.standing_inputs import make_job

# Enough that jobs are left when the last kill comes: the last job's owners would be killed one after the other.
JOBS = 200
WORKERS = 16
KILLS = 24


class Crowd:
    """The workers that were started, all ended by their own handles."""

    def __init__(self, folder: Path, scratch: Path, locks: str) -> None:
        self._arguments = [str(folder), str(scratch), locks]
        self._started = 0
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, how: str | None = None) -> subprocess.Popen[bytes]:
        how = how or ("prove" if self._started % 2 else "watch")
        self._started += 1
        worker = subprocess.Popen(
            [sys.executable, "-m", "joblist.crowd_worker", *self._arguments, how],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.workers.append(worker)
        return worker

    def kill_one(self) -> None:
        living = [worker for worker in self.workers if worker.poll() is None]
        if living:
            random.choice(living).kill()

    def wait(self) -> None:
        for worker in self.workers:
            _, complaint = worker.communicate(timeout=60)
            assert worker.returncode in (0, -9), complaint.decode()

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("locks", ["locks", "no-locks"])
def test_a_crowd_under_fire_does_each_job_and_never_two_at_once(tmp_path: Path, locks: str) -> None:
    folder, scratch = tmp_path / "joblist", tmp_path / "scratch"
    (scratch / "marks").mkdir(parents=True)
    joblist = Joblist(folder, create=True)
    for number in range(JOBS):
        make_job(joblist, f"{number:03}")
    crowd = Crowd(folder, scratch, locks)
    try:
        for worker in [crowd.start() for _ in range(WORKERS)]:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"ready\n"
        for _ in range(KILLS):
            time.sleep(random.uniform(0.02, 0.15))
            crowd.kill_one()
            crowd.start()
        crowd.wait()
        # A job may be hit three times before its first progress is on disk: an error for a person to look at, and only
        # with three owners that really died.
        errors = {view.name: view.record.text for view in joblist.scan() if view.status == "error" and view.record}
        assert all(text.startswith("worker died 3 times") for text in errors.values()), errors
        assert all(len(_taken_from(joblist, name)) >= 3 for name in errors), errors
        assert joblist.retry() == sorted(errors)
        crowd.start("prove")  # these, and whatever the last ones left when all others had gone home
        crowd.wait()
    finally:
        crowd.close()

    assert [path.name for path in scratch.iterdir() if path.name.startswith("violation")] == []
    ended = Counter((scratch / "ended").read_text().split())
    assert max(ended.values()) == 1, "a job was ended twice"
    views = joblist.scan()
    assert [(view.name, view.record.text) for view in views if view.status != "success" and view.record] == []
    assert len(views) == JOBS
    assert sum(worker.returncode == -9 for worker in crowd.workers) >= KILLS // 2
    killed = {str(worker.pid) for worker in crowd.workers if worker.returncode == -9}
    dead = [owner for name in joblist.names() for owner in _taken_from(joblist, name)]
    assert len(dead) >= 3, "the kills hit nobody at work"
    assert set(dead) <= killed, "a job was taken from a living owner"


def _taken_from(joblist: Joblist, name: str) -> list[str]:
    """The process numbers of the owners that lost `name`."""
    return re.findall(r"taken over from \S+-(\d+)-[0-9a-f]+ by", "\n".join(joblist.read(name).log))
