"""The array for a joblist: its size, its command, what reaches its environment, what SLURM says to it."""

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
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import UsageError
from bulkhaul.slurm.array import (
    DEFAULT_TASKS,
    ArraySpec,
    fit_array,
    log_pattern,
    own_checkout,
    render_sbatch,
    submit_array,
    time_limit,
)
from bulkhaul.slurm.client import SlurmError
from bulkhaul.slurm.exports import SECRETS, exported_names, kept_back
from bulkhaul.slurm.sbatch import max_array_size, refusal, submit
from servers.slurm import SlurmCluster

ROOT = Path(__file__).parents[2]


@given(todo=st.integers(0, 10**6), wanted=st.none() | st.integers(1, 2000))
def test_an_array_has_no_more_tasks_than_jobs_and_no_more_than_wanted(todo: int, wanted: int | None) -> None:
    size = fit_array(todo, wanted=wanted, max_array_size=2000)
    assert size == min(todo, wanted or DEFAULT_TASKS)


def test_more_tasks_than_slurm_takes_are_refused_and_not_trimmed() -> None:
    assert fit_array(5000, wanted=1001, max_array_size=1001) == 1001
    assert fit_array(10, wanted=2000, max_array_size=1001) == 10
    with pytest.raises(UsageError, match="1002 tasks, but an array may have 1001 here"):
        fit_array(5000, wanted=1002, max_array_size=1001)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("12:00:00", 43_200),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("2-00:00:05", 172_805),
        ("0", 0),
        ("unlimited", None),
        ("INFINITE", None),
    ],
)
def test_a_time_limit_means_what_sbatch_reads(text: str, seconds: int | None) -> None:
    assert time_limit(text) == seconds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "slurm size: 0 is below 1"),
        ({"throttle": -1}, "slurm throttle: -1 is below 1"),
        ({"partition": "main --wrap=x"}, "slurm partition"),
        ({"partition": ""}, "slurm partition"),
        ({"account": "lab;rm"}, "slurm account"),
        ({"time": "soon"}, "slurm time: 'soon'"),
        ({"time": "1:2:3:4"}, "slurm time"),
        ({"time": "-12"}, "slurm time"),
        ({"time": "1-"}, "slurm time"),
        ({"time": ""}, "slurm time"),
        ({"time": "5"}, "slurm time: 5 is over before the signal 300 s ahead of its end"),
        ({"signal_lead": 0}, "slurm signal"),
        ({"signal_lead": 99_999}, "slurm signal"),
        ({"options": ("job.sh",)}, "slurm options: 'job.sh'"),
        ({"options": ("-p", "main")}, "slurm options: '-p'"),
        ({"options": ("--comment=a\nb",)}, "slurm options"),
        ({"options": ("--array=0-1",)}, "--array is set by bulkhaul"),
        ({"options": ("--arr=0-1",)}, "--arr is set by bulkhaul"),
        ({"options": ("--export=ALL",)}, "--export is set by bulkhaul"),
        ({"options": ("--export-f=x",)}, "--export-f is set by bulkhaul"),
        ({"options": ("--no-requeue",)}, "--no-requeue is set by bulkhaul"),
        ({"options": ("--",)}, "slurm options"),
    ],
)
def test_what_sbatch_would_refuse_or_misread_is_refused_first(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        ArraySpec(Path("joblist"), **change)


def test_the_command_says_all_that_was_chosen() -> None:
    spec = ArraySpec(
        Path("/data/joblist"),
        throttle=4,
        time="1-12",
        partition="short,long",
        account="lab",
        options=("--qos=high", "--exclusive"),
        signal_lead=600,
        python=Path("/env/bin/python"),
        config=Path("/lab/bulkhaul.toml"),
    )
    command = render_sbatch(spec, size=8, checkout=Path("/checkout"), folder=Path("/home"), exports=["PATH", "HOME"])
    assert command == [
        "env",
        "--chdir=/checkout",
        "BULKHAUL_PYTHON=/env/bin/python",
        "BULKHAUL_CONFIG=/lab/bulkhaul.toml",
        "sbatch",
        "--parsable",
        "--array=0-7%4",
        "--chdir=/home",
        "--output=/data/joblist/slurm-%A_%a.out",
        "--export=BULKHAUL_CONFIG,BULKHAUL_PYTHON,HOME,PATH",
        "--signal=B:USR1@600",
        "--time=1-12",
        "--partition=short,long",
        "--account=lab",
        "--qos=high",
        "--exclusive",
        "slurm/transfer_array.sh",
        "/data/joblist",
    ]


def test_the_log_stays_one_file_a_task_whatever_the_folder_is_called() -> None:
    assert log_pattern(Path("/a %j b")) == "/a %%j b/slurm-%A_%a.out"
    assert log_pattern(Path("/a\\b")) == "slurm-%A_%a.out"


SHELL = {
    "PATH": "/bin",
    "HOME": "/home/me@lab.org",
    "MY_PASSWORD": "x",
    "AWS_PROFILE": "lab",
    "AWS_CONFIG_FILE": "/home/me@lab.org/.aws/config",
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_SESSION_TOKEN": "x",
    "BULKHAUL_LEASE_TTL": "30",
    "BULKHAUL_odd,AWS_SECRET_ACCESS_KEY": "x",
    "HTTPS_PROXY": "http://proxy:3128",
    "https_proxy": "me:secret@proxy:3128",
    "AWS_ENDPOINT_URL": "https://me:secret@s3.lab.org",
}


def test_names_without_secrets_are_exported_and_the_rest_is_told() -> None:
    exported = exported_names(SHELL)
    assert exported == ["AWS_CONFIG_FILE", "AWS_PROFILE", "BULKHAUL_LEASE_TTL", "HOME", "HTTPS_PROXY", "PATH"]
    assert kept_back(SHELL) == [
        "AWS_ACCESS_KEY_ID",
        "AWS_ENDPOINT_URL",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "https_proxy",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BULKHAUL_CREDENTIAL_COMMAND", "get-keys --token=hidden"),
        ("BULKHAUL_ENDPOINT_URL", "https://me:hidden@s3.lab.org"),
        ("AWS_ENDPOINT_URL_S3", "http://me:hidden@127.0.0.1:9000"),
        ("https_proxy", "me:hidden@proxy:3128"),
        ("HTTP_PROXY", "http://hidden@proxy:3128"),
    ],
)
def test_what_may_hold_a_token_or_a_password_stays_here_and_is_named(
    joblist: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # no SLURM
    monkeypatch.setenv("BULKHAUL_CREDENTIALS", "command")
    monkeypatch.setenv(name, value)
    done = submit_array(ArraySpec(joblist), todo=2, checkout=checkout, dry_run=True)
    (exports,) = [word.removeprefix("--export=") for word in done.command if word.startswith("--export=")]
    assert "BULKHAUL_CREDENTIALS" in exports.split(",")
    assert name not in exports.split(",")
    assert done.notes[-1].startswith(f"{name}: stays in this shell")
    assert "hidden" not in done.command_line + "".join(done.notes)


@given(st.dictionaries(st.sampled_from([*SECRETS, "PATH", "AWS_REGION"]) | st.text(max_size=30), st.text(max_size=30)))
def test_no_secret_is_ever_exported(environ: dict[str, str]) -> None:
    exported = exported_names(environ)
    assert not set(exported) & set(SECRETS)
    assert all(re.fullmatch(r"\w+", name) for name in exported)


@pytest.mark.parametrize(
    ("stderr", "code", "message"),
    [
        (
            "sbatch: error: invalid partition specified: nope\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            2,
            "sbatch: Batch job submission failed: Invalid partition name specified; choose a partition that `sinfo -s`",
        ),
        (
            "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates "
            "accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            2,
            "ask for fewer tasks, or wait",
        ),
        ("sbatch: error: Batch job submission failed: Invalid job array specification\n", 2, "ask for fewer tasks"),
        ("sbatch: unrecognized option '--qoz=1'\nTry \"sbatch --help\" for more information\n", 2, "--qoz=1"),
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n",
            69,
            "try again when SLURM's controller answers",
        ),
        (
            "sbatch: error: fetch_config: DNS SRV lookup failed\n"
            "sbatch: fatal: Could not establish a configuration source\n",
            69,
            "submit from a node of the cluster",
        ),
        ("", 2, "no reason given"),
    ],
)
def test_a_refusal_is_one_line_with_the_next_step(stderr: str, code: int, message: str) -> None:
    error = refusal(stderr)
    assert error.exit_code == code
    assert message in str(error)
    assert "\n" not in str(error)


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    folder = tmp_path / "job's %j list"
    folder.mkdir()
    return folder


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
