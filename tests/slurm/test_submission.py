"""The array is submitted: the real sbatch and what it refuses, and what is said where none is."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulkhaul.errors import UsageError
from bulkhaul.slurm.array import (
    ArraySpec,
    own_checkout,
    submit_array,
)
from bulkhaul.slurm.client import SlurmError
from bulkhaul.slurm.sbatch import max_array_size, submit
from servers.slurm import SlurmCluster

ROOT = Path(__file__).parents[2]


def test_the_real_sbatch_takes_it_and_the_workers_work_on_the_joblist(
    use_slurm: SlurmCluster, checkout: Path, joblist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MY_PASSWORD"):
        monkeypatch.setenv(name, "hidden")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hidden@proxy")
    monkeypatch.setenv("BULKHAUL_LEASE_TTL", "30")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    # As inside a requeued array task, whose variables SLURM would hand on to the new job.
    monkeypatch.setenv("SLURM_RESTART_COUNT", "5")
    config = Path("own.toml")
    spec = ArraySpec(joblist, throttle=2, time="20", options=("--comment=it's a b", "--mem=100"), config=config)

    done = submit_array(spec, todo=3, checkout=checkout)

    assert done.size == 3
    for index in range(3):
        assert use_slurm.await_state(f"{done.slurm_job_id}_{index}") == "COMPLETED"
    assert use_slurm.show(f"{done.slurm_job_id}_0")["TimeLimit"] == "00:20:00"
    assert sorted(path.name for path in joblist.iterdir()) == [
        f"slurm-{done.slurm_job_id}_{index}.out" for index in range(3)
    ]
    facts = json.loads((checkout / "run-2-0.json").read_text())
    assert facts["arguments"] == ["-i", str(joblist)]
    assert facts["folder"] == str(elsewhere)
    assert facts["interpreter"] == sys.executable
    environment = facts["environment"]
    assert not [name for name, value in environment.items() if "hidden" in value]
    assert (environment["BULKHAUL_LEASE_TTL"], environment["AWS_PROFILE"]) == ("30", "lab")
    assert environment["BULKHAUL_CONFIG"] == str(elsewhere / config)
    (note,) = done.notes
    assert "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, HTTPS_PROXY" in note
    assert "hidden" not in note + done.command_line


def test_a_dry_run_submits_nothing_and_its_line_can_be_typed(
    use_slurm: SlurmCluster, checkout: Path, joblist: Path
) -> None:
    done = submit_array(ArraySpec(joblist, options=("--hold",)), todo=2, checkout=checkout, dry_run=True)
    assert done.slurm_job_id is None
    assert use_slurm.run("squeue", "-h", "-n", "bulkhaul-transfer", "-t", "PENDING") == ""
    typed = subprocess.run(["bash", "-c", done.command_line], capture_output=True, text=True, check=True)
    job_id = typed.stdout.strip()
    assert use_slurm.states(job_id) == {f"{job_id}_0": "PENDING", f"{job_id}_1": "PENDING"}
    use_slurm.run("scancel", job_id)


def test_a_dry_run_works_where_no_slurm_is(joblist: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = submit_array(ArraySpec(joblist), todo=2, checkout=checkout, dry_run=True)
    assert shlex.split(done.command_line) == list(done.command)
    assert "not checked against the cluster" in done.notes[0]
    with pytest.raises(SlurmError, match="scontrol: No such file or directory"):
        submit_array(ArraySpec(joblist), todo=2, checkout=checkout)


def test_sbatch_that_is_missing_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match=r"^sbatch: not found; submit from a node with SLURM's programs"):
        submit(["env", "sbatch"])


def test_an_sbatch_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(SlurmError, match=r"^sbatch: no answer within 0\.2 s; look with `squeue --me`"):
        submit(["sleep", "10"], timeout=0.2)


def test_nothing_to_do_submits_nothing(joblist: Path, checkout: Path) -> None:
    done = submit_array(ArraySpec(joblist), todo=0, checkout=checkout)
    assert (done.slurm_job_id, done.size, done.notes) == (None, 0, ("no job is left to do",))


def test_a_missing_joblist_is_refused(checkout: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such joblist"):
        submit_array(ArraySpec(Path("nowhere")), todo=1, checkout=checkout)


def test_the_checkout_is_found_from_the_package_or_the_lack_is_said(tmp_path: Path) -> None:
    assert own_checkout() == ROOT
    with pytest.raises(UsageError, match="submit from a checkout"):
        own_checkout(tmp_path / "site-packages" / "bulkhaul" / "slurm" / "array.py")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"partition": "nope"}, "Invalid partition name specified; choose a partition"),
        ({"options": ("--mem=999G",)}, "ask for less memory"),
        ({"options": ("--qoz=1",)}, "--qoz=1"),
    ],
)
def test_what_the_real_slurm_refuses_is_one_line(
    use_slurm: SlurmCluster, checkout: Path, joblist: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        submit_array(replace(ArraySpec(joblist), **change), todo=2, checkout=checkout)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_real_limit_of_arrays_is_asked(use_slurm: SlurmCluster, checkout: Path, joblist: Path) -> None:
    assert max_array_size() == 1001
    with pytest.raises(UsageError, match="1002 tasks, but an array may have 1001 here"):
        submit_array(ArraySpec(joblist, size=1002), todo=5000, checkout=checkout)
    done = submit_array(ArraySpec(joblist, size=1001, options=("--hold",)), todo=5000, checkout=checkout)
    assert len(use_slurm.states(str(done.slurm_job_id))) == 1001
    use_slurm.run("scancel", str(done.slurm_job_id))


def test_a_controller_that_is_not_there_is_said_in_one_line(
    use_slurm: SlurmCluster, tmp_path: Path, checkout: Path, joblist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = Path(os.environ["SLURM_CONF"]).read_text()
    silent = tmp_path / "slurm.conf"
    silent.write_text(re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", conf) + "\nMessageTimeout=2\n")
    monkeypatch.setenv("SLURM_CONF", str(silent))
    with pytest.raises(SlurmError) as caught:
        submit_array(ArraySpec(joblist), todo=2, checkout=checkout)
    assert caught.value.exit_code == 69
    assert "Unable to contact slurm controller" in str(caught.value)
    assert "\n" not in str(caught.value)
