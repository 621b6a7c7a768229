"""What sends for a worker stops with it: killed, frozen, or itself killed, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bulkhaul.transfer.sender_process import STALE
from e2e.lab import Lab, wait_until
from e2e.oracle import assert_plates_arrived
from e2e.turnstile import front_env
from servers.stub_s3 import StubS3

pytestmark = [pytest.mark.s3, pytest.mark.parametrize("engine", ["obstore"])]  # the other one has no senders


def children_of(worker: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def puts(front: StubS3) -> int:
    return sum(entry.operation == "PutObject" for entry in front.log.entries)


def at_work(lab: Lab, front: StubS3) -> subprocess.Popen[str]:
    """A worker in the midst of 600 small files, each of which takes a twentieth of a second."""
    front.script.plan("PutObject", front.script.hang(0.05), times=100_000)
    worker = lab.worker(**front_env(front))
    wait_until(lambda: puts(front) >= 100, what="some files are sent")
    return worker


def test_the_senders_of_a_killed_worker_end(lab: Lab, front: StubS3) -> None:
    names = lab.fill(plates=1, chunks=600)
    worker = at_work(lab, front)
    senders = children_of(worker)
    assert senders
    worker.kill()
    wait_until(lambda: all(map(is_gone, senders)), seconds=10, what="the senders have ended")
    assert puts(front) < 600, "the kill came too late"
    front.script.clear()
    lab.transfer(**front_env(front))
    assert_plates_arrived(lab, *names)


def test_a_frozen_worker_sends_nothing_through_its_senders(lab: Lab, front: StubS3) -> None:
    names = lab.fill(plates=1, chunks=600)
    worker = at_work(lab, front)
    worker.send_signal(signal.SIGSTOP)
    time.sleep(STALE + 1.0)
    before = puts(front)
    assert before < 600, "it was frozen too late"
    time.sleep(1.0)
    assert puts(front) == before
    worker.send_signal(signal.SIGCONT)
    front.script.clear()
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, output
    assert_plates_arrived(lab, *names)


def test_a_worker_goes_on_when_its_senders_are_killed(lab: Lab, front: StubS3) -> None:
    names = lab.fill(plates=1, chunks=600)
    worker = at_work(lab, front)
    for pid in children_of(worker):
        os.kill(pid, signal.SIGKILL)
    front.script.clear()
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, output
    assert "ended by itself; its files are sent without it" in output
    assert_plates_arrived(lab, *names)
