"""The array for a joblist: its size, its command, what reaches its environment."""

from __future__ import annotations

import re
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
    render_sbatch,
    submit_array,
    time_limit,
)
from bulkhaul.slurm.exports import SECRETS, exported_names, kept_back
from bulkhaul.slurm.sbatch import refusal


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


def test_settings_for_the_tasks_alone_stand_in_the_command_and_are_exported() -> None:
    spec = ArraySpec(Path("/data/joblist"), variables={"BULKHAUL_JOBLIST_MAX_REQUESTS": "500.0"})
    command = render_sbatch(spec, size=8, checkout=Path("/checkout"), folder=Path("/home"), exports=["PATH"])
    assert command.index("BULKHAUL_JOBLIST_MAX_REQUESTS=500.0") < command.index("sbatch")
    assert "--export=BULKHAUL_JOBLIST_MAX_REQUESTS,BULKHAUL_PYTHON,PATH" in command


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
