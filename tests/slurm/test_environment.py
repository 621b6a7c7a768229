"""What a process reads from SLURM's variables, when its task ends, and whether it may run again."""

from __future__ import annotations

import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from signal import Signals

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.slurm.environment import (
    BARREN_RESTARTS,
    REQUEUE_WINDOW,
    Share,
    TaskId,
    current_share,
    current_task,
    deadline,
    should_requeue,
)
from servers.slurm import SlurmCluster, wait_until

IN_ARRAY = {
    "SLURM_CLUSTER_NAME": "lab",
    "SLURM_JOB_ID": "98",
    "SLURM_ARRAY_JOB_ID": "95",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_ARRAY_TASK_COUNT": "8",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_MAX": "7",
    "SLURM_ARRAY_TASK_STEP": "1",
}


def test_an_array_task_is_named_by_array_and_index() -> None:
    task = current_task(IN_ARRAY | {"SLURM_RESTART_COUNT": "2"})
    assert task == TaskId("lab", "98", "95", 3, 2)
    assert (task.name, task.submission) == ("95_3", "95")


def test_a_plain_job_in_its_first_run() -> None:
    task = current_task({"SLURM_JOB_ID": "98", "SLURM_CLUSTER_NAME": "lab"})
    assert task == TaskId("lab", "98")
    assert (task.name, task.submission) == ("98", "98")


@pytest.mark.parametrize("environ", [{}, {"SLURM_CONF": "/etc/slurm.conf"}, {"SLURM_JOB_ID": ""}])
def test_outside_slurm_there_is_no_task_and_the_share_is_the_whole(environ: dict[str, str]) -> None:
    assert current_task(environ) is None
    assert current_share(environ) == Share(0, 1)
    assert current_share(environ).offset == 0.0


def test_the_share_follows_the_place_in_the_array() -> None:
    assert current_share(IN_ARRAY) == Share(3, 8)
    assert current_share(IN_ARRAY).offset == 3 / 8


@given(first=st.integers(0, 50), step=st.integers(1, 9), count=st.integers(1, 40))
def test_the_tasks_of_an_array_share_the_work_without_gap_or_overlap(first: int, step: int, count: int) -> None:
    def share(task: int) -> Share:
        last = first + (count - 1) * step
        numbers = {"ID": task, "COUNT": count, "MIN": first, "MAX": last, "STEP": step}
        return current_share({f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in numbers.items()})

    shares = [share(first + place * step) for place in range(count)]
    assert shares == [Share(place, count) for place in range(count)]
    assert all(0 <= share.offset < 1 for share in shares)


def test_each_task_of_a_handpicked_array_takes_all_of_the_work() -> None:
    environ = {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "1"}
    environ["SLURM_ARRAY_TASK_MAX"] = "600"
    assert [current_share(environ | {"SLURM_ARRAY_TASK_ID": task}) for task in ("1", "5", "600")] == [Share()] * 3


NEAR, FAR = REQUEUE_WINDOW - 1, REQUEUE_WINDOW + 1


@pytest.mark.parametrize(
    ("exit_code", "first_signal", "seconds_left", "expected"),
    [
        pytest.param(75, Signals.SIGUSR1, FAR, True, id="the time signal"),
        pytest.param(75, Signals.SIGUSR1, None, True, id="the time signal, limit unknown"),
        pytest.param(75, None, NEAR, True, id="stopped by itself near the limit"),
        pytest.param(75, None, -5.0, True, id="stopped by itself behind the limit"),
        pytest.param(75, None, FAR, False, id="stopped by itself for another reason"),
        pytest.param(75, None, None, False, id="stopped by itself, no limit"),
        pytest.param(75, Signals.SIGTERM, FAR, False, id="scancel"),
        pytest.param(75, Signals.SIGTERM, NEAR, False, id="scancel near the limit"),
        pytest.param(75, Signals.SIGINT, NEAR, False, id="ctrl-c"),
        pytest.param(0, Signals.SIGUSR1, NEAR, False, id="all done"),
        pytest.param(77, Signals.SIGUSR1, NEAR, False, id="credentials"),
        pytest.param(3, None, NEAR, False, id="jobs in error"),
    ],
)
def test_only_a_time_limit_with_work_left_has_the_task_run_again(
    exit_code: int, first_signal: signal.Signals | None, seconds_left: float | None, expected: bool
) -> None:
    answer = should_requeue(
        exit_code=exit_code, first_signal=first_signal, seconds_left=seconds_left, restart_count=0, progressed=True
    )
    assert answer is expected


@pytest.mark.parametrize(
    ("restarts", "progressed", "expected"),
    [
        (BARREN_RESTARTS - 1, False, True),
        (BARREN_RESTARTS, False, False),
        (BARREN_RESTARTS, True, True),
        (1000, True, True),
    ],
)
def test_a_task_that_moves_nothing_is_not_requeued_for_ever(restarts: int, progressed: bool, expected: bool) -> None:
    answer = should_requeue(
        exit_code=75, first_signal=signal.SIGUSR1, seconds_left=0.0, restart_count=restarts, progressed=progressed
    )
    assert answer is expected


ASK = """
import json, sys
from bulkhaul.slurm.environment import current_task, deadline
task = current_task()
end = deadline(task)
json.dump([task.name, task.job_id, task.cluster, task.restart_count, end and end.isoformat()], open(sys.argv[1], "w"))
"""


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_a_task_learns_its_own_end_even_the_last_one_which_has_the_arrays_id(
    slurm_cluster: SlurmCluster, tmp_path: Path, zone: str
) -> None:
    (tmp_path / "ask.py").write_text(ASK)
    # The later tasks end an hour later: who asks for the whole array gets the wrong line.
    script = tmp_path / "job.sh"
    script.write_text(f'#!/bin/bash\n"{sys.executable}" ask.py answer-$SLURM_ARRAY_TASK_ID\nsleep 30\n')
    before = datetime.now(UTC)
    job = slurm_cluster.sbatch("--array=0-2%2", "--time=10", script.name, cwd=tmp_path, env={"TZ": zone})
    wait_until(lambda: (tmp_path / "answer-1").exists(), "two tasks run")
    slurm_cluster.run("scontrol", "update", f"JobId={job}_0", "TimeLimit=70")
    slurm_cluster.run("scancel", f"{job}_1")
    last = tmp_path / "answer-2"
    wait_until(lambda: last.exists() and last.read_text(), "the last task runs")
    slurm_cluster.run("scancel", job)
    name, job_id, cluster, restarts, end = json.loads(last.read_text())
    assert (name, job_id, cluster, restarts) == (f"{job}_2", job, "testcluster", 0)
    assert 595 <= (datetime.fromisoformat(end) - before).total_seconds() <= 640


def test_an_unlimited_task_has_no_deadline(use_slurm: SlurmCluster, tmp_path: Path) -> None:
    job = use_slurm.sbatch("--time=UNLIMITED", "--wrap=sleep 30", cwd=tmp_path)
    use_slurm.await_state(job, "RUNNING")
    end = deadline(TaskId("testcluster", job))
    use_slurm.run("scancel", job)
    assert end is None or end.year > datetime.now(UTC).year


@pytest.mark.parametrize("task", [TaskId("testcluster", "999999"), TaskId("testcluster", "999999", "999998", 1)])
def test_an_unknown_task_has_no_deadline(use_slurm: SlurmCluster, task: TaskId) -> None:
    assert deadline(task) is None


def test_a_pending_task_has_no_deadline(use_slurm: SlurmCluster, tmp_path: Path) -> None:
    job = use_slurm.sbatch("--hold", "--wrap=true", cwd=tmp_path)
    assert deadline(TaskId("testcluster", job)) is None
    use_slurm.run("scancel", job)


def test_without_slurm_there_is_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert deadline(TaskId("testcluster", "1")) is None
