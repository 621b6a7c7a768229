"""What SLURM's answers prove about a task: on recorded text, and on a real cluster."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bulkhaul.slurm.client import SlurmError
from bulkhaul.slurm.environment import TaskId
from bulkhaul.slurm.query import (
    FINAL_STATES,
    TaskState,
    TaskStates,
    parse_sacct,
    parse_squeue,
    proves_end,
    read_states,
    requeue,
)
from servers.slurm import SlurmCluster, wait_until

CLUSTER = "testcluster"
TASK = TaskId(CLUSTER, "9", "7", 2, restart_count=1)

# squeue 22.05.8 as asked by `read_states`, columns narrowed here.
SQUEUE = """\
CLUSTER: testcluster
7     1     7     CANCELLED    0   testcluster   JobArrayTaskLimit
7     0     8     COMPLETING   1   testcluster   TimeLimit
9     N/A   9     RUNNING      0   testcluster   None
10    N/A   10    PENDING      2   testcluster   Nodes required for job are DOWN, DRAINED or reserved
"""
SACCT = """\
12_0|COMPLETED|lab
12_1|CANCELLED by 1000|lab
12_[2-9%4]|PENDING|lab
13|NODE_FAIL|lab
"""


def gone_now(task: TaskId) -> bool:
    """What SLURM proves at this moment."""
    return TaskStates().gone(task)


def state_of(state: str, *, restarts: int | None = 1, cluster: str = CLUSTER, name: str = "7_2") -> TaskState:
    return TaskState(name, cluster, state, restarts)


def test_squeue_is_read_by_task_with_its_reason() -> None:
    assert list(parse_squeue(SQUEUE)) == [
        TaskState("7_1", CLUSTER, "CANCELLED", 0, "JobArrayTaskLimit"),
        TaskState("7_0", CLUSTER, "COMPLETING", 1, "TimeLimit"),
        TaskState("9", CLUSTER, "RUNNING", 0, "None"),
        TaskState("10", CLUSTER, "PENDING", 2, "Nodes required for job are DOWN, DRAINED or reserved"),
    ]


def test_sacct_is_read_by_task_without_the_canceller() -> None:
    assert list(parse_sacct(SACCT)) == [
        TaskState("12_0", "lab", "COMPLETED"),
        TaskState("12_1", "lab", "CANCELLED"),
        TaskState("12_[2-9%4]", "lab", "PENDING"),
        TaskState("13", "lab", "NODE_FAIL"),
    ]


@pytest.mark.parametrize("text", ["", "\n", "garbage", "a b c d e f g", "|||", "12_0|COMPLETED"])
def test_other_text_holds_no_task(text: str) -> None:
    assert list(parse_squeue(text)) == []
    assert list(parse_sacct(text)) == []


@pytest.mark.parametrize("word", sorted(FINAL_STATES))
@pytest.mark.parametrize("restarts", [1, 2, None])
def test_a_final_state_proves_the_end(word: str, restarts: int | None) -> None:
    assert proves_end(state_of(word, restarts=restarts), TASK)


@pytest.mark.parametrize("word", ["PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD"])
def test_a_later_run_proves_the_end_of_the_earlier_and_the_same_run_does_not(word: str) -> None:
    assert proves_end(state_of(word, restarts=2), TASK)
    assert not proves_end(state_of(word, restarts=1), TASK)


@pytest.mark.parametrize("word", ["COMPLETING", "REVOKED", "SIGNALING", "STAGE_OUT", "a word of a later SLURM"])
@pytest.mark.parametrize("restarts", [0, 1, 2, None])
def test_other_states_prove_nothing_at_any_restart_count(word: str, restarts: int | None) -> None:
    assert not proves_end(state_of(word, restarts=restarts), TASK)


def test_an_earlier_run_than_the_recorded_proves_nothing() -> None:
    assert not proves_end(state_of("FAILED", restarts=0), TASK)


def test_another_task_cluster_or_nobodys_proves_nothing() -> None:
    assert not proves_end(state_of("FAILED", cluster="other"), TASK)
    assert not proves_end(state_of("FAILED", name="7_3"), TASK)
    assert not proves_end(state_of("FAILED", cluster=""), replace(TASK, cluster=""))


def submit_sleeper(cluster: SlurmCluster, folder: Path, *options: str, command: str = "exec sleep 60") -> TaskId:
    """One array task of one on the real cluster, not yet known to run."""
    script = folder / "job.sh"
    script.write_text(f"#!/bin/bash\n{command}\n")
    job = cluster.sbatch("--array=5", "--requeue", "-o", "/dev/null", *options, script.name, cwd=folder)
    return TaskId(CLUSTER, job, job, 5)


def test_a_running_task_is_not_gone_and_a_cancelled_one_is(use_slurm: SlurmCluster, tmp_path: Path) -> None:
    task = submit_sleeper(use_slurm, tmp_path)
    use_slurm.await_state(task.name, "RUNNING")
    assert not gone_now(task)
    use_slurm.run("scancel", task.name)
    use_slurm.await_state(task.name)
    assert gone_now(task)
    assert not gone_now(replace(task, cluster="elsewhere"))


@pytest.mark.parametrize("command", ["true", "false"])
def test_a_finished_task_is_gone(use_slurm: SlurmCluster, tmp_path: Path, command: str) -> None:
    task = submit_sleeper(use_slurm, tmp_path, command=command)
    use_slurm.await_state(task.name)
    assert gone_now(task)


def test_a_pending_task_is_not_gone(use_slurm: SlurmCluster, tmp_path: Path) -> None:
    task = submit_sleeper(use_slurm, tmp_path, "--hold")
    assert use_slurm.states(task.submission) == {task.name: "PENDING"}
    assert not gone_now(task)
    use_slurm.run("scancel", task.name)


def test_a_task_being_cancelled_is_not_gone_while_its_process_winds_down(
    use_slurm: SlurmCluster, tmp_path: Path
) -> None:
    marker = tmp_path / "ready"
    command = f"trap 'sleep 1; exit 0' TERM\ntouch {marker}\nsleep 60 & wait"
    task = submit_sleeper(use_slurm, tmp_path, command=command)
    wait_until(marker.exists, "the task runs")
    use_slurm.run("scancel", task.name)
    use_slurm.await_state(task.name, "COMPLETING")
    assert not gone_now(task)
    use_slurm.await_state(task.name, "CANCELLED")
    assert gone_now(task)


def test_a_requeued_run_is_gone_once_its_processes_are_and_its_successor_is_not(
    use_slurm: SlurmCluster, tmp_path: Path
) -> None:
    task = submit_sleeper(use_slurm, tmp_path)
    use_slurm.await_state(task.name, "RUNNING")
    assert requeue(task)
    use_slurm.await_state(task.name, "PENDING")
    assert gone_now(task)
    use_slurm.await_state(task.name, "RUNNING")
    successor = replace(task, restart_count=1)
    assert gone_now(task)
    assert not gone_now(successor)
    assert not requeue(task), "the earlier run has no say any more"
    use_slurm.run("scancel", task.name)
    use_slurm.await_state(task.name)
    assert gone_now(successor)


def test_only_the_one_task_of_an_array_is_requeued(use_slurm: SlurmCluster, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/bash\nexec sleep 60\n")
    job = use_slurm.sbatch("--array=0-1", "--requeue", "-o", "/dev/null", "job.sh", cwd=tmp_path)
    for name in (f"{job}_0", f"{job}_1"):
        use_slurm.await_state(name, "RUNNING")
    # Task 1 is the last one: its plain job id is the array's.
    assert use_slurm.show(f"{job}_1")["JobId"] == job
    assert requeue(TaskId(CLUSTER, job, job, 1))
    use_slurm.await_state(f"{job}_1", "PENDING")
    assert use_slurm.states(job)[f"{job}_0"] == "RUNNING"
    assert use_slurm.show(f"{job}_0")["Restarts"] == "0"
    use_slurm.run("scancel", job)


def test_a_cancelled_task_cannot_be_revived(use_slurm: SlurmCluster, tmp_path: Path) -> None:
    marker = tmp_path / "ready"
    command = f"trap 'sleep 1; exit 0' TERM\ntouch {marker}\nsleep 60 & wait"
    task = submit_sleeper(use_slurm, tmp_path, command=command)
    wait_until(marker.exists, "the task runs")
    use_slurm.run("scancel", task.name)
    assert not requeue(task)
    assert use_slurm.await_state(task.name) == "CANCELLED"
    assert not requeue(task)
    assert not requeue(TaskId(CLUSTER, "999999"))


def test_a_refused_requeue_says_why(use_slurm: SlurmCluster, tmp_path: Path) -> None:
    task = submit_sleeper(use_slurm, tmp_path, "--no-requeue")
    use_slurm.await_state(task.name, "RUNNING")
    with pytest.raises(
        SlurmError, match=rf"task {task.name}: not requeued: .*Requested operation is presently disabled"
    ):
        requeue(task)
    use_slurm.run("scancel", task.name)


def test_a_run_on_a_crashed_node_is_gone_when_slurm_has_requeued_it(use_slurm: SlurmCluster, tmp_path: Path) -> None:
    task = submit_sleeper(use_slurm, tmp_path)
    use_slurm.await_state(task.name, "RUNNING")
    node = use_slurm.show(task.name)["BatchHost"]
    other = {"node1": "node2", "node2": "node1"}[node]
    try:
        use_slurm.crash(node)
        wait_until(lambda: gone_now(task), "the crashed run is gone")
        use_slurm.await_state(task.name, "RUNNING")
        assert use_slurm.show(task.name)["BatchHost"] == other
        assert not gone_now(replace(task, restart_count=1))
    finally:
        use_slurm.boot(node)
        use_slurm.run("scancel", task.submission)


def test_many_tasks_cost_one_call_and_an_end_stays_proven(
    use_slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/bash\n[[ $SLURM_ARRAY_TASK_ID == 1 ]] && exec sleep 60\n")
    job = use_slurm.sbatch("--array=0-5", "--requeue", "-o", "/dev/null", "job.sh", cwd=tmp_path)
    tasks = [TaskId(CLUSTER, job, job, index) for index in range(6)]
    for task in tasks:
        use_slurm.await_state(task.name, *(["RUNNING"] if task.array_task == 1 else []))
    now = [0.0]
    calls = tmp_path / "calls"
    real = shutil.which("squeue")
    write_program(tmp_path / "bin" / "squeue", f'echo called >> {calls}; exec {real} "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    states = TaskStates(max_age=10.0, clock=lambda: now[0])

    assert [states.gone(task) for task in tasks] == [True, False, True, True, True, True]
    assert len(calls.read_text().splitlines()) == 1
    use_slurm.run("scancel", job)
    use_slurm.await_state(f"{job}_1")
    now[0] = 9.0
    assert not states.gone(tasks[1]), "the answer is not ten seconds old"
    now[0] = 10.0
    assert all(states.gone(task) for task in tasks)
    now[0] = 1000.0
    assert all(states.gone(task) for task in tasks)
    assert len(calls.read_text().splitlines()) == 2


def test_what_the_controller_has_forgotten_is_asked_of_the_accounting(
    use_slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = submit_sleeper(use_slurm, tmp_path)
    use_slurm.await_state(running.name, "RUNNING")
    # No accounting on the test cluster: a program that answers what one with slurmdbd printed.
    write_program(tmp_path / "bin" / "sacct", f"echo '888888_1|NODE_FAIL|{CLUSTER}'; echo '{running.name}|FAILED|x'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    forgotten = TaskId(CLUSTER, "888889", "888888", 1)
    states = TaskStates()
    assert states.gone(forgotten)
    assert not states.gone(running)
    use_slurm.run("scancel", running.name)


def test_accounting_proves_nothing_while_the_controller_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
    write_program(tmp_path / "squeue", f"echo called >> {tmp_path}/calls; {down}")
    write_program(tmp_path / "sacct", f"echo '7_2|NODE_FAIL|{CLUSTER}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SlurmError, match="Unable to contact slurm controller"):
        read_states([TASK])
    states = TaskStates(clock=lambda: 0.0)
    assert not any(states.gone(replace(TASK, array_job_id=str(number))) for number in range(20))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 2, "a silent controller, 4 s a call, is not asked for each job"


def test_without_slurm_nothing_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not gone_now(TASK)


def test_a_users_own_filters_do_not_count(
    use_slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = submit_sleeper(use_slurm, tmp_path, command="true")
    use_slurm.await_state(task.name)
    monkeypatch.setenv("SQUEUE_USERS", "nobody")
    monkeypatch.setenv("SQUEUE_PARTITION", "other")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    assert gone_now(task)


def write_program(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
