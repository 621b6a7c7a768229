"""The real array on a real cluster: time limit and requeue, scancel, a node that loses power, a task started twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.lab import CHECKOUT, Lab, plate_folder, plate_key, wait_until, write_plate
from e2e.oracle import assert_arrived, plain_client, remote_keys
from servers.seaweed import ADMIN, Seaweed
from servers.slurm import SlurmCluster
from servers.stub_s3 import Front, StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slurm]

SCRIPT = "slurm/transfer_array.sh"


@pytest.fixture
def slow_s3(s3_server: Seaweed) -> Iterator[StubS3]:
    """The real S3 server behind a front that keeps each put for a while, so that a dataset takes longer than a test."""
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as front:
        yield front


def configure(lab: Lab, front: StubS3, *, concurrency: int = 1) -> dict[str, str]:
    """The environment of an array: settings from a file, keys from a credentials file, as on a site."""
    keys = front.tokens.issue(None)
    credentials = lab.folder / "credentials"
    credentials.write_text(
        f"[default]\naws_access_key_id = {keys.access_key}\naws_secret_access_key = {keys.secret_key}\n"
        f"aws_session_token = {keys.session_token}\n"
    )
    config = lab.folder / "site.toml"
    config.write_text(
        f'joblist = "{lab.joblist}"\nlease_ttl = 3\nheartbeat = 0.5\nmax_concurrency = {concurrency}\n'
        f'endpoint_url = "{front.url}"\nregion = "us-east-1"\n'
    )
    return {
        "BULKHAUL_CONFIG": str(config),
        "BULKHAUL_PYTHON": lab.command("x")[0],
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": os.environ["PATH"],
    }


def fill(lab: Lab, *, plates: int, chunks: int) -> list[str]:
    names = [f"A{number:04d}" for number in range(1, plates + 1)]
    for seed, name in enumerate(names):
        write_plate(plate_folder(lab.results, batch="J1", plate=name), chunks=chunks, seed=seed)
    lab.extract()
    return names


def submit(cluster: SlurmCluster, lab: Lab, env: dict[str, str], *options: str) -> str:
    """Submit the checkout's own array script, its logs into the lab."""
    return cluster.sbatch(
        "--cpus-per-task=1", "--mem=100", f"--output={lab.folder}/slurm-%A_%a.out", *options, SCRIPT,
        cwd=CHECKOUT, env=env,
    )  # fmt: skip


def assert_all_arrived(lab: Lab, names: list[str]) -> None:
    assert set(lab.statuses().values()) == {"success"}, logs(lab)
    for name in names:
        source = plate_folder(lab.results, batch="J1", plate=name)
        assert_arrived(plain_client(lab.env), source, bucket=lab.bucket, prefix=plate_key(batch="J1", plate=name))


def logs(lab: Lab) -> str:
    """What the tasks printed and the job files hold, for a failure's message."""
    paths = [*lab.folder.glob("slurm-*.out"), *lab.joblist.glob("*.txt")]
    return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(paths))


def arrived(lab: Lab) -> int:
    return len(remote_keys(plain_client(lab.env), lab.bucket))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_time_limit_cuts_workers_off_and_the_requeued_tasks_finish(
    lab: Lab, slurm_cluster: SlurmCluster, slow_s3: StubS3
) -> None:
    names = fill(lab, plates=2, chunks=300)
    # One put at a time at 0.3 s: a plate needs some 90 s, the tasks have 60.
    slow_s3.script.plan("PutObject", slow_s3.script.hang(0.3), times=100_000)
    job = submit(slurm_cluster, lab, configure(lab, slow_s3), "--array=0-1", "--time=1", "--signal=B:USR1@20")
    tasks = [f"{job}_0", f"{job}_1"]
    wait_until(
        lambda: all(slurm_cluster.show(task)["Restarts"] == "1" for task in tasks),
        seconds=120,
        what="both tasks are requeued",
    )
    slow_s3.script.clear()
    for task in tasks:
        assert slurm_cluster.await_state(task, patience=120) == "COMPLETED", logs(lab)
    assert_all_arrived(lab, names)


@pytest.mark.slow
def test_scancel_gives_the_job_back_and_the_task_stays_cancelled(
    lab: Lab, slurm_cluster: SlurmCluster, slow_s3: StubS3
) -> None:
    fill(lab, plates=1, chunks=300)
    slow_s3.script.plan("PutObject", slow_s3.script.hang(0.2), times=100_000)
    job = submit(slurm_cluster, lab, configure(lab, slow_s3), "--array=0")
    wait_until(lambda: arrived(lab) > 10, what="the first objects arrive")
    slurm_cluster.run("scancel", job)
    assert slurm_cluster.await_state(f"{job}_0") == "CANCELLED"
    wait_until(lambda: set(lab.statuses().values()) == {"todo"}, what="the job is given back")
    assert slurm_cluster.states(job) == {f"{job}_0": "CANCELLED"}, "a cancelled task was requeued"


@pytest.mark.slow
def test_the_work_of_a_node_that_loses_power_is_taken_over_by_another(
    lab: Lab, slurm_cluster: SlurmCluster, slow_s3: StubS3
) -> None:
    names = fill(lab, plates=2, chunks=200)
    slow_s3.script.plan("PutObject", slow_s3.script.hang(0.1), times=100_000)
    job = submit(slurm_cluster, lab, configure(lab, slow_s3), "--array=0-1", "--no-requeue")
    wait_until(lambda: list(lab.statuses().values()) == ["ongoing"] * 2, what="both jobs are claimed")
    nodes = {task: slurm_cluster.show(task)["BatchHost"] for task in (f"{job}_0", f"{job}_1")}
    assert set(nodes.values()) == {"node1", "node2"}
    wait_until(lambda: arrived(lab) > 20, what="objects arrive")
    slurm_cluster.crash("node1")
    slow_s3.script.clear()
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
    lab: Lab, slurm_cluster: SlurmCluster, slow_s3: StubS3
) -> None:
    names = fill(lab, plates=1, chunks=100)
    slow_s3.script.plan("PutObject", slow_s3.script.hang(0.1), times=100_000)
    env = configure(lab, slow_s3)
    job = submit(slurm_cluster, lab, env, "--array=0")
    wait_until(lambda: "ongoing" in lab.statuses().values(), what="the first start has claimed the job")
    # What a controller restart does: the same job id, task and restart count a second time, on another node.
    twin = lab.start(
        "04_transfer_plates.py", SLURM_JOB_ID=job, SLURM_ARRAY_JOB_ID=job, SLURM_ARRAY_TASK_ID="0",
        SLURM_CLUSTER_NAME="testcluster", SLURM_ARRAY_TASK_COUNT="1", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="",
        SLURM_CONF=slurm_cluster.environment["SLURM_CONF"], **env,
    )  # fmt: skip
    slow_s3.script.clear()
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


def test_the_demo_goes_through_slurm_where_sbatch_answers(use_slurm: SlurmCluster, tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    demo = [sys.executable, CHECKOUT / "scripts" / "demo.py"]
    done = subprocess.run(demo, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "workers through SLURM (array " in done.stdout
    assert "summary: 6 of 6 jobs in success" in done.stdout
    assert "equal to the source" in done.stdout
    assert use_slurm.run("squeue", "--noheader", "--states=pending,running") == ""
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
