"""A SLURM that lets its clients wait: how often it is asked, and what whoever asks still sees of a dead owner."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulkhaul.joblist.liveness import Sign, Silences
from bulkhaul.slurm.environment import TaskId
from bulkhaul.slurm.query import TaskStates

TASK = TaskId("testcluster", "9", "7", 2)


class HungController:
    """A squeue that fails, and a clock on which each call of it took `seconds`."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._calls = folder / "calls"
        self._seconds = seconds
        self.now = 0.0
        squeue = folder / "squeue"
        squeue.write_text(f"#!/bin/bash\necho called >> {self._calls}\necho 'no answer' >&2\nexit 1\n")
        squeue.chmod(0o755)

    @property
    def calls(self) -> int:
        return len(self._calls.read_text().splitlines()) if self._calls.exists() else 0

    def clock(self) -> float:
        return self.now + self._seconds * self.calls


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HungController:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return HungController(tmp_path, 15.0)


def test_a_fifth_of_the_time_at_most_is_spent_on_waiting(hung: HungController) -> None:
    states = TaskStates(max_age=10.0, clock=hung.clock)
    while hung.clock() < 600:
        assert not states.gone(TASK)
        hung.now += 1.0
    assert 600 / 5 / 15 - 1 <= hung.calls <= 600 / 5 / 15 + 1


@pytest.mark.parametrize("ttl", [3.0, 12.0, 15.0, 30.0, 45.0, 90.0, 180.0])
def test_the_silence_of_a_dead_owner_is_seen_beside_a_controller_that_hangs(hung: HungController, ttl: float) -> None:
    states, silences = TaskStates(clock=hung.clock), Silences(ttl)
    sign = Sign.SILENT
    while sign is not Sign.DEAD:
        assert hung.clock() < 2 * ttl + 90, "the silence was never seen"
        states.gone(TASK)
        silences.note("owner", b"the same", hung.clock())
        sign = silences.sign("owner", hung.clock())
        hung.now += ttl / 18  # half a beat, as between two looks
    assert hung.clock() >= ttl
