"""slurm/*.sh on a real cluster: where they start from, what reaches Python, what SLURM makes of its end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bulkhaul.slurm import exports
from servers.slurm import SlurmCluster, wait_until

ROOT = Path(__file__).parents[2]
SCRIPTS = ["transfer_array.sh", "verify_array.sh"]
QUICK = ("--array=0", "--cpus-per-task=1", "--mem=100")


def behave(checkout: Path, **behaviour: float) -> None:
    (checkout / "behaviour.json").write_text(json.dumps(behaviour))


def record(checkout: Path, task: str = "0", restarts: int = 0) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((checkout / f"run-{task}-{restarts}.json").read_text())
    return facts


def submit(cluster: SlurmCluster, checkout: Path, *options: str, **keywords: Any) -> str:
    return cluster.sbatch(*QUICK, *options, str(checkout / "slurm" / "transfer_array.sh"), cwd=checkout, **keywords)


def started(cluster: SlurmCluster, checkout: Path, job: str) -> None:
    wait_until((checkout / "run-0-0.json").exists, f"{job} starts Python")


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("below", [".", "slurm", "deep/er"])
def test_a_script_runs_from_any_folder_of_the_checkout(
    slurm_cluster: SlurmCluster, checkout: Path, script: str, below: str
) -> None:
    path = os.path.relpath(checkout / "slurm" / script, checkout / below)
    job = slurm_cluster.sbatch(*QUICK, path, "job list's", cwd=checkout / below)
    assert slurm_cluster.await_state(f"{job}_0") == "COMPLETED"
    facts = record(checkout)
    assert facts["arguments"] == ["-i", "job list's"]
    assert Path(facts["folder"]) == (checkout / below).resolve()  # so a relative joblist is the one that was meant
    assert facts["interpreter"] == str(checkout / ".venv" / "bin" / "python")


def test_without_a_joblist_python_decides_by_its_settings(slurm_cluster: SlurmCluster, checkout: Path) -> None:
    job = submit(slurm_cluster, checkout)
    slurm_cluster.await_state(f"{job}_0")
    assert record(checkout)["arguments"] == []


def test_a_script_works_without_any_exported_variable(slurm_cluster: SlurmCluster, checkout: Path) -> None:
    job = submit(slurm_cluster, checkout, "--export=NONE")
    assert slurm_cluster.await_state(f"{job}_0") == "COMPLETED"


def test_the_interpreter_that_the_user_names_is_taken(slurm_cluster: SlurmCluster, checkout: Path) -> None:
    job = submit(slurm_cluster, checkout, env={"BULKHAUL_PYTHON": sys.executable})
    slurm_cluster.await_state(f"{job}_0")
    assert record(checkout)["interpreter"] == sys.executable


@pytest.mark.parametrize("named", [True, False])
def test_a_missing_interpreter_is_said_in_one_line(slurm_cluster: SlurmCluster, checkout: Path, named: bool) -> None:
    (checkout / ".venv" / "bin" / "python").unlink()
    job = submit(slurm_cluster, checkout, env={"BULKHAUL_PYTHON": "/nowhere/python"} if named else {})
    assert slurm_cluster.await_state(f"{job}_0") == "FAILED"
    assert slurm_cluster.show(f"{job}_0")["ExitCode"] == "2:0"
    lines = (checkout / f"slurm-{job}_0.out").read_text().splitlines()
    assert len(lines) == 1
    assert ("/nowhere/python" if named else f"{checkout}/.venv/bin/python") in lines[0]
    assert "make env" in lines[0]


def test_outside_a_checkout_is_said_in_one_line(slurm_cluster: SlurmCluster, checkout: Path, tmp_path: Path) -> None:
    job = slurm_cluster.sbatch(*QUICK, str(checkout / "slurm" / "transfer_array.sh"), cwd=tmp_path)
    assert slurm_cluster.await_state(f"{job}_0") == "FAILED"
    lines = (tmp_path / f"slurm-{job}_0.out").read_text().splitlines()
    assert len(lines) == 1
    assert "not in a checkout" in lines[0]


@pytest.mark.parametrize("code", [0, 3, 75, 77])
def test_the_exit_code_is_pythons(checkout: Path, code: int) -> None:
    behave(checkout, code=code)
    # What SLURM does with the script, less SLURM: a copy elsewhere, and the variable that leads back.
    copy = checkout.parent / "slurm_script"
    copy.write_text((checkout / "slurm" / "transfer_array.sh").read_text())
    environment = {"SLURM_SUBMIT_DIR": str(checkout)}
    assert subprocess.run(["bash", copy], cwd="/", env=environment, check=False).returncode == code


@pytest.mark.parametrize("signal", ["USR1", "TERM"])
def test_the_signal_reaches_python_and_its_exit_code_comes_through(
    slurm_cluster: SlurmCluster, checkout: Path, signal: str
) -> None:
    behave(checkout, seconds=60, on_signal=75, linger=0.3)
    job = submit(slurm_cluster, checkout)
    started(slurm_cluster, checkout, job)
    slurm_cluster.run("scancel", f"--signal={signal}", "--batch", f"{job}_0")
    assert slurm_cluster.await_state(f"{job}_0") == "FAILED"
    assert slurm_cluster.show(f"{job}_0")["ExitCode"] == "75:0"
    facts = record(checkout)
    assert facts["signals"] == [f"SIG{signal}"]
    assert facts["ended"]


def test_a_second_signal_does_not_cut_the_wait_short(slurm_cluster: SlurmCluster, checkout: Path) -> None:
    sent = ["SIGUSR1", "SIGUSR1", "SIGTERM"]
    behave(checkout, seconds=60, signals=len(sent), on_signal=75)
    job = submit(slurm_cluster, checkout)
    started(slurm_cluster, checkout, job)
    for count, signal in enumerate(sent, start=1):
        slurm_cluster.run("scancel", f"--signal={signal}", "--batch", f"{job}_0")
        # slurmctld delivers what was sent at its leisure, and in any order: one at a time.
        wait_until(lambda count=count: record(checkout)["signals"] == sent[:count], f"{signal} arrives")
    slurm_cluster.await_state(f"{job}_0")
    assert slurm_cluster.show(f"{job}_0")["ExitCode"] == "75:0"
    assert record(checkout)["ended"]


def test_a_signal_during_the_start_of_python_does_not_kill_it(checkout: Path) -> None:
    # A wrapper as slow as an interpreter on a busy file system, which has not set its handlers yet.
    slow = checkout / "slow python"
    slow.write_text(f'#!/bin/sh\ntouch "{checkout}/starting"\nsleep 1\nexec "{sys.executable}" "$@"\n')
    slow.chmod(0o755)
    environment = {"SLURM_SUBMIT_DIR": str(checkout), "BULKHAUL_PYTHON": str(slow)}
    process = subprocess.Popen(["bash", checkout / "slurm" / "transfer_array.sh"], cwd="/", env=environment)
    wait_until((checkout / "starting").exists, "the wrapper starts")
    process.send_signal(10)
    assert process.wait(20) == 0
    assert record(checkout, "none")["ended"]


def test_scancel_lets_python_release_and_the_task_stays_cancelled(slurm_cluster: SlurmCluster, checkout: Path) -> None:
    behave(checkout, seconds=60, on_signal=75, linger=0.5)
    job = submit(slurm_cluster, checkout)
    started(slurm_cluster, checkout, job)
    slurm_cluster.run("scancel", f"{job}_0")
    assert slurm_cluster.await_state(f"{job}_0") == "CANCELLED"
    facts = record(checkout)
    assert set(facts["signals"]) == {"SIGTERM"}
    assert facts["ended"]
    assert slurm_cluster.show(f"{job}_0")["Restarts"] == "0"


REQUEUER = """
import os, pathlib, signal, sys, threading
from bulkhaul.slurm.environment import current_task, should_requeue
from bulkhaul.slurm.query import requeue
came = []
signal.signal(signal.SIGUSR1, lambda number, frame: came.append(signal.Signals(number)))
signal.signal(signal.SIGTERM, lambda number, frame: came.append(signal.Signals(number)))
task = current_task()
print("run", task.restart_count, flush=True)
pathlib.Path(f"started-{task.restart_count}").touch()
if task.restart_count:
    sys.exit(0)
while not came:
    threading.Event().wait(0.05)
if should_requeue(exit_code=75, first_signal=came[0], seconds_left=500.0, restart_count=0, progressed=True):
    assert requeue(task)
sys.exit(75)
"""


def test_after_the_time_signal_python_has_its_task_run_again_into_the_same_log(
    slurm_cluster: SlurmCluster, checkout: Path
) -> None:
    (checkout / "scripts" / "04_transfer_plates.py").write_text(REQUEUER)
    job = submit(slurm_cluster, checkout, env={"BULKHAUL_PYTHON": sys.executable})
    wait_until((checkout / "started-0").exists, "first run")
    slurm_cluster.run("scancel", "--signal=USR1", "--batch", f"{job}_0")
    wait_until((checkout / "started-1").exists, "second run")
    assert slurm_cluster.await_state(f"{job}_0") == "COMPLETED"
    assert slurm_cluster.show(f"{job}_0")["Restarts"] == "1"
    log = (checkout / f"slurm-{job}_0.out").read_text()
    assert [line for line in log.splitlines() if line.startswith("run ")] == ["run 0", "run 1"]


def test_plain_sbatch_hands_on_no_secret(slurm_cluster: SlurmCluster, checkout: Path) -> None:
    shell = {"AWS_SECRET_ACCESS_KEY": "hidden", "AWS_SESSION_TOKEN": "hidden", "MY_PASSWORD": "hidden"}
    job = submit(slurm_cluster, checkout, env={**shell, "AWS_PROFILE": "lab", "BULKHAUL_LEASE_TTL": "9"})
    slurm_cluster.await_state(f"{job}_0")
    environment = record(checkout)["environment"]
    assert "hidden" not in environment.values()
    assert environment["AWS_PROFILE"] == "lab"
    assert environment["BULKHAUL_LEASE_TTL"] == "9"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_exports_what_the_package_does_less_the_proxies(script: str) -> None:
    line = re.search(r"^#SBATCH --export=(\S+)$", (ROOT / "slurm" / script).read_text(), re.MULTILINE)
    assert line is not None
    names = set(line[1].split(","))
    assert {name for name in names if not name.startswith("BULKHAUL_")} == {*exports.ALWAYS, *exports.AWS}
    assert {"BULKHAUL_PYTHON", "BULKHAUL_CONFIG"} < names


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_asks_for_what_a_resumable_worker_needs(script: str) -> None:
    text = (ROOT / "slurm" / script).read_text()
    for option in ("--array=0-", "--requeue", "--open-mode=append", "--signal=B:USR1@", "--time="):
        assert f"\n#SBATCH {option}" in text
