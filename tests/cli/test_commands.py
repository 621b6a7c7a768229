"""The commands as they are typed: help, transcripts, JSON."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typed import TARGET, bulkhaul, make_results, set_line_1
from typer.main import get_group

from bulkhaul.cli.app import app

pytestmark = pytest.mark.slow  # a process or a server a test


COMMANDS = sorted(get_group(app).commands)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_explains_itself_with_an_example(command: str, flag: str, tmp_path: Path) -> None:
    said = bulkhaul(command, flag, folder=tmp_path).stdout
    assert f"Example:\n    bulkhaul {command} " in said or f"Example:\n    bulkhaul {command}\n" in said


def test_every_verb_is_there(tmp_path: Path) -> None:
    verbs = {"extract", "check", "submit", "transfer", "verify", "summarise", "retry", "doctor", "config", "policy"}
    assert verbs == set(COMMANDS)
    for option in ("-h", "--help"):
        assert all(verb in bulkhaul(option, folder=tmp_path).stdout for verb in verbs)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reports_as_json(command: str, tmp_path: Path) -> None:
    assert "--json" in bulkhaul(command, "-h", folder=tmp_path).stdout


def test_extract_speaks_as_the_users_notes_say(tmp_path: Path) -> None:
    results = make_results(tmp_path / "real", {"J3": 2, "J1": 1})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    done = bulkhaul(
        "extract",
        *("--input_path", "link/results", "--output_path", "./source08", "--verbosity", "1"),
        folder=tmp_path,
        BULKHAUL_TARGET=TARGET,
    )
    assert done.stderr == ""
    assert done.stdout == (
        f"💡 Valid input path: {results}\n"
        f"❗ The output path '{tmp_path}/source08' does not exist.\n"
        f"💡 Creating output path: {tmp_path}/source08\n"
        f"💡 Valid output path: {tmp_path}/source08\n"
        "💡 Dry run: disabled\n"
        "💡 Verbosity level: 1\n"
        "💡 Found 1 source(s):\n"
        "  - source_8\n"
        "💡 Found 2 batch(es) for source 'source_8'.\n"
        "💡 Found 1 plate(s) for source 'source_8' in batch 'J1'.\n"
        "💡 Found 2 plate(s) for source 'source_8' in batch 'J3'.\n"
        "💡 Creating joblist in output directory.\n"
        "💡 Created 3 job(s).\n"
        "✅ Processing complete.\n"
    )


def test_extract_without_an_output_fills_joblists_source(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"J1": 1})
    bulkhaul("extract", "-i", results, "--target", TARGET, folder=tmp_path)
    assert (tmp_path / "joblists" / "source_8" / "source_8__J1__A0000000.txt").is_file()


def test_verbosity_0_does_the_same_and_says_nothing(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"J1": 2})
    done = bulkhaul("extract", "-i", results, "-o", "jobs", "--target", TARGET, "-v", "0", folder=tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
    assert len(list((tmp_path / "jobs").glob("*.txt"))) == 2


def test_summarise_speaks_as_the_users_notes_say(joblist: Path) -> None:
    done = bulkhaul("summarise", "-i", joblist, folder=joblist.parent)
    assert done.stderr == ""
    assert done.stdout == (
        f"💡 Valid input path: {joblist}\n"
        "💡 Dry run: disabled\n"
        "💡 Verbosity level: 1\n"
        "💡 Found 4 job file(s).\n"
        "💡 Total jobs: 4\n"
        "💡 Todo jobs: 4\n"
        "💡 Ongoing jobs: 0\n"
        "✅ Success jobs: 0\n"
        "❌ Error jobs: 0\n"
    )


def test_summarise_adds_lines_only_for_what_needs_them(joblist: Path) -> None:
    set_line_1(joblist, 0, "done")
    set_line_1(joblist, 1, "dnoe")
    set_line_1(joblist, 2, "error")
    said = bulkhaul("summarise", "-i", joblist, "--dry-run", folder=joblist.parent).stdout
    assert "💡 Dry run: enabled\n" in said
    head, _, rest = said.partition("❌ Error jobs: 1\n")
    assert "💡 Total jobs: 4\n💡 Todo jobs: 1\n" in head
    lines = rest.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "❗ Unproven jobs",
        "❗ source_8__J1__A0000000.txt",
        "❗ Invalid job files",
        "❗ source_8__J1__A0000001.txt",
    ]


def test_summarise_as_json_adds_up(joblist: Path) -> None:
    set_line_1(joblist, 0, "done")
    done = bulkhaul("summarise", "-i", joblist, "--json", folder=joblist.parent)
    counts = json.loads(done.stdout)
    assert counts["total"] == 4
    assert counts["todo"] + counts["unproven"] == 4


def test_doctor_says_how_claims_are_kept_apart(tmp_path: Path) -> None:
    said = bulkhaul("doctor", tmp_path, folder=tmp_path).stdout
    assert "💡 Claims here: " in said
    findings = json.loads(bulkhaul("doctor", tmp_path, "--json", folder=tmp_path).stdout)
    assert findings["mode"]
    assert {finding["trial"] for finding in findings["findings"]}


def test_config_shows_values_and_origins_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "bulkhaul.toml").write_text('region = "eu-1"\ncredential_command = ["print-keys", "--password=hush"]\n')
    done = bulkhaul("config", folder=tmp_path, BULKHAUL_DEPTH="2", AWS_SECRET_ACCESS_KEY="hush-too")
    lines = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert lines["region"].endswith(f"eu-1  (file {tmp_path}/bulkhaul.toml)")
    assert lines["depth"].endswith("2  (env BULKHAUL_DEPTH)")
    assert lines["layout"].endswith("jump  (default)")
    assert lines["credential_command"].split()[2:4] == ["print-keys", "***"]
    values = json.loads(bulkhaul("config", "--json", folder=tmp_path).stdout)
    assert values["region"] == {"value": "eu-1", "origin": f"file {tmp_path}/bulkhaul.toml"}
    assert "hush" not in done.stdout + json.dumps(values)


def test_the_doctors_of_a_requeued_array_do_not_take_the_earlier_run_for_other_tasks(tmp_path: Path) -> None:
    def examine(task: int, restart: int) -> str:
        variables = {"JOB_ID": 90 + task, "ARRAY_JOB_ID": 90, "ARRAY_TASK_ID": task, "ARRAY_TASK_COUNT": 2}
        variables |= {"ARRAY_TASK_MIN": 0, "ARRAY_TASK_MAX": 1, "RESTART_COUNT": restart, "CLUSTER_NAME": "lab"}
        env = {f"SLURM_{name}": str(value) for name, value in variables.items()}
        return bulkhaul("doctor", tmp_path, folder=tmp_path, **env).stdout

    for restart in (0, 1):
        with ThreadPoolExecutor() as tasks:
            said = list(tasks.map(examine, (0, 1), (restart, restart)))
        assert all("nodes: 2 tasks on 1 nodes see each other" in each for each in said)
