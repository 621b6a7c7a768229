"""The real array on a real cluster: time limit and requeue, a node that loses power, a task started twice."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from e2e.arrays import arrived, configure, logs, submit
from e2e.lab import CHECKOUT, Lab, wait_until
from e2e.oracle import assert_plates_arrived
from servers.slurm import SlurmCluster
from servers.stub_s3 import StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slurm]


def assert_all_arrived(lab: Lab, names: list[str]) -> None:
    assert set(lab.statuses().values()) == {"success"}, logs(lab)
    assert_plates_arrived(lab, *names)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_time_limit_cuts_workers_off_and_the_requeued_tasks_finish(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    names = lab.fill(plates=2, chunks=300)
    # One put at a time at 0.3 s: a plate needs some 90 s, the tasks have 60.
    front.script.plan("PutObject", front.script.hang(0.3), times=100_000)
    job = submit(slurm_cluster, lab, configure(lab, front), "--array=0-1", "--time=1", "--signal=B:USR1@20")
    tasks = [f"{job}_0", f"{job}_1"]
    wait_until(
        lambda: all(slurm_cluster.show(task)["Restarts"] == "1" for task in tasks),
        seconds=120,
        what="both tasks are requeued",
    )
    front.script.clear()
    for task in tasks:
        assert slurm_cluster.await_state(task, patience=120) == "COMPLETED", logs(lab)
    assert_all_arrived(lab, names)


@pytest.mark.slow
def test_the_work_of_a_node_that_loses_power_is_taken_over_by_another(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    names = lab.fill(plates=2, chunks=200)
    front.script.plan("PutObject", front.script.hang(0.1), times=100_000)
    job = submit(slurm_cluster, lab, configure(lab, front), "--array=0-1", "--no-requeue")
    wait_until(lambda: list(lab.statuses().values()) == ["ongoing"] * 2, what="both jobs are claimed")
    nodes = {task: slurm_cluster.show(task)["BatchHost"] for task in (f"{job}_0", f"{job}_1")}
    assert set(nodes.values()) == {"node1", "node2"}
    wait_until(lambda: arrived(lab) > 20, what="objects arrive")
    slurm_cluster.crash("node1")
    front.script.clear()
    try:
        survivor = next(task for task, node in nodes.items() if node == "node2")
        assert slurm_cluster.await_state(survivor, patience=90) == "COMPLETED", logs(lab)
        assert_all_arrived(lab, names)
        taken_over = [path.name for path in lab.joblist.glob("*.txt") if "taken over" in path.read_text()]
        assert len(taken_over) == 1, logs(lab)
    finally:
        slurm_cluster.boot("node1")


@pytest.mark.slow
def test_a_task_that_slurm_starts_twice_at_once_ends_well_both_times(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    names = lab.fill(plates=1, chunks=100)
    front.script.plan("PutObject", front.script.hang(0.1), times=100_000)
    env = configure(lab, front)
    job = submit(slurm_cluster, lab, env, "--array=0")
    wait_until(lambda: "ongoing" in lab.statuses().values(), what="the first start has claimed the job")
    # What a controller restart does: the same job id, task and restart count a second time, on another node.
    twin = lab.start(
        "04_transfer_plates.py", SLURM_JOB_ID=job, SLURM_ARRAY_JOB_ID=job, SLURM_ARRAY_TASK_ID="0",
        SLURM_CLUSTER_NAME="testcluster", SLURM_ARRAY_TASK_COUNT="1", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="",
        SLURM_CONF=slurm_cluster.environment["SLURM_CONF"], **env,
    )  # fmt: skip
    beats = lab.joblist / ".bulkhaul" / "heartbeat"
    wait_until(lambda: len(list(beats.iterdir())) == 2, what="both are at work at once")
    assert "ongoing" in lab.statuses().values()
    front.script.clear()
    output, _ = twin.communicate(timeout=60)
    assert twin.returncode == 0, output
    assert slurm_cluster.await_state(f"{job}_0") == "COMPLETED", logs(lab)
    assert_all_arrived(lab, names)
    claims = next(lab.joblist.glob("*.txt")).read_text().count("generation=")
    assert claims == 2, "one claim and one end: the twin claimed nothing\n" + logs(lab)


def test_the_array_says_in_one_line_what_is_missing(lab: Lab, slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    env = {"BULKHAUL_PYTHON": "/nonexistent/python"}
    job = submit(slurm_cluster, lab, env, "--array=0")
    slurm_cluster.await_state(f"{job}_0")
    printed = (lab.folder / f"slurm-{job}_0.out").read_text()
    assert "/nonexistent/python" in printed
    assert len(printed.strip().splitlines()) == 1


def test_the_demo_goes_through_slurm_where_sbatch_answers(use_slurm: SlurmCluster) -> None:
    demo = [sys.executable, str(CHECKOUT / "scripts" / "demo.py")]
    # Not pytest's folder, which is long: the path of a socket may have 107 bytes.
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(demo, env=env, cwd=folder, capture_output=True, text=True, timeout=110)
        assert done.returncode == 0, done.stdout + done.stderr
        assert list(Path(folder).iterdir()) == [], "nothing is left behind"
    assert "workers through SLURM (array " in done.stdout
    assert "summary: 6 of 6 jobs in success" in done.stdout
    assert "equal to the source" in done.stdout
    assert use_slurm.run("squeue", "--noheader", "--states=pending,running") == ""
