"""A worker that sleeps through its lease, as a suspended machine does."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bulkhaul.joblist.job import Owner, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import SHORT, go_on, make_job


def nobody_gone(_owner: Owner) -> bool:
    return False


@contextmanager
def _worker(folder: Path, sent: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "joblist.stopped_worker", str(folder), str(sent), how],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "claimed\n"
        yield worker
    finally:
        worker.kill()
        worker.communicate()


@pytest.mark.parametrize("how", ["send", "log", "end"])
def test_a_worker_that_slept_through_its_lease_touches_nothing(tmp_path: Path, how: str) -> None:
    folder, sent = tmp_path / "joblist", tmp_path / "sent"
    sent.touch()
    joblist = Joblist(folder, **SHORT, create=True)
    path = make_job(joblist)
    with _worker(folder, sent, how) as worker:
        worker.send_signal(signal.SIGSTOP)
        with joblist.session(this_owner(), owner_gone=nobody_gone) as session:
            claim = session.claim_next(go_on)
            assert claim is not None
            assert claim.generation == 2
            before, count = path.read_bytes(), sent.stat().st_size

            worker.send_signal(signal.SIGCONT)
            output, _ = worker.communicate("go\n" * 3, timeout=20)

            assert output == "lost\n"
            assert path.read_bytes() == before
            # At most what stood between a check and its request when the signal came.
            assert sent.stat().st_size - count <= 1
            claim.end(Status.SUCCESS, "all", facts={})
    assert joblist.read("a").status is Status.SUCCESS


def test_a_worker_that_slept_and_was_not_superseded_goes_on(tmp_path: Path) -> None:
    folder, sent = tmp_path / "joblist", tmp_path / "sent"
    sent.touch()
    joblist = Joblist(folder, **SHORT, create=True)
    make_job(joblist)
    with _worker(folder, sent, "send") as worker:
        worker.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(2 * SHORT["lease_ttl"])
        count = sent.stat().st_size
        worker.send_signal(signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(0.5)
        assert sent.stat().st_size > count
