"""The commands as they are typed: transcripts, exit codes, JSON, help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_group

from bulkhaul.cli.app import app

pytestmark = pytest.mark.slow  # a process or a server a test

COMMANDS = sorted(get_group(app).commands)
TARGET = "s3://gallery/archive"


def bulkhaul(*arguments: object, folder: Path, expect: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "bulkhaul", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def make_results(folder: Path, plates: dict[str, int]) -> Path:
    """A results folder in the jump layout, with `plates` per batch of source_8."""
    head = folder / "results/aggregated/broad/cellpainting-gallery/cpg0016-jump/source_8/workspace/segmentation"
    for batch, count in plates.items():
        for number in range(count):
            plate = f"A{number:07d}"
            (head / "cellpose/objects" / batch / plate / f"{plate}.zarr").mkdir(parents=True)
    return folder / "results"


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    """A joblist of four jobs, all todo."""
    results = make_results(tmp_path, {"J1": 4})
    bulkhaul("extract", "-i", results, "-o", tmp_path / "jobs", "--target", TARGET, folder=tmp_path)
    return tmp_path / "jobs"


def set_line_1(joblist: Path, number: int, word: str) -> None:
    path = joblist / f"source_8__J1__A{number:07d}.txt"
    path.write_text(path.read_text().replace("todo", word, 1))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_explains_itself_with_an_example(command: str, flag: str, tmp_path: Path) -> None:
    said = bulkhaul(command, flag, folder=tmp_path).stdout
    assert f"Example:\n    bulkhaul {command} " in said or f"Example:\n    bulkhaul {command}\n" in said


def test_every_verb_is_there(tmp_path: Path) -> None:
    verbs = {"extract", "check", "submit", "transfer", "verify", "summarise", "retry", "doctor", "config"}
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


def test_retry_sets_error_back_to_todo_all_or_by_name(joblist: Path) -> None:
    for number in (0, 1):
        set_line_1(joblist, number, "error")
    retried = json.loads(
        bulkhaul("retry", "source_8__J1__A0000001.txt", "-i", joblist, "--json", folder=joblist.parent).stdout
    )
    assert retried["retried"] == ["source_8__J1__A0000001"]
    said = bulkhaul("retry", "-i", joblist, folder=joblist.parent).stdout
    assert "Set back 1 job(s)." in said
    counts = json.loads(bulkhaul("summarise", "-i", joblist, "--json", folder=joblist.parent).stdout)
    assert counts["todo"] == 4


def test_retry_of_a_job_that_is_not_in_error_says_what_to_do_instead(joblist: Path) -> None:
    set_line_1(joblist, 0, "error")
    names = ["source_8__J1__A0000000", "source_8__J1__A0000001"]
    done = bulkhaul("retry", *names, "-i", joblist, "-v", "0", folder=joblist.parent, expect=2)
    assert done.stdout == (
        f"❌ {names[1]}.txt: left as it is, it is not in `error`; to have it sent again write `todo` on its line 1\n"
    )
    assert (joblist / f"{names[0]}.txt").read_text().startswith("todo\n")


def test_an_empty_path_is_not_the_working_folder(joblist: Path) -> None:
    done = bulkhaul("extract", "-i", "", "-o", "o", folder=joblist.parent, expect=2)
    assert "the path is empty" in done.stderr
    assert not (joblist.parent / "o").exists()


def test_an_array_is_not_submitted_without_the_credential_command_that_stays_in_the_shell(joblist: Path) -> None:
    env = {"BULKHAUL_CREDENTIALS": "command", "BULKHAUL_CREDENTIAL_COMMAND": "pass show lab"}
    done = bulkhaul("submit", "-i", joblist, "--dry-run", folder=joblist.parent, expect=2, **env)
    assert done.stderr.startswith("❌ credential_command: set in this shell only, and never handed to SLURM; ")


def test_retry_takes_unproven_jobs_only_when_told(joblist: Path) -> None:
    set_line_1(joblist, 3, "done")
    assert "Set back 0 job(s)." in bulkhaul("retry", "-i", joblist, folder=joblist.parent).stdout
    assert "Set back 1 job(s)." in bulkhaul("retry", "--unproven", "-i", joblist, folder=joblist.parent).stdout


def test_retry_of_an_unknown_job_names_it(joblist: Path) -> None:
    done = bulkhaul("retry", "-i", joblist, "nothing", folder=joblist.parent, expect=2)
    assert done.stderr.startswith("❌ nothing: no such job in this joblist; ")


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


def test_a_wrong_option_is_a_usage_error(tmp_path: Path) -> None:
    assert "--nonsense" in bulkhaul("summarise", "--nonsense", folder=tmp_path, expect=2).stderr
    assert "verbosity" in bulkhaul("summarise", "-v", "4", folder=tmp_path, expect=2).stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["trasnfer", "-i", "jobs"], "no such command 'trasnfer'"),
        (["--nonsense", "summarise"], "no such option: --nonsense"),
        (["--input_path", "jobs", "summarise"], "no such option: --input_path"),
    ],
)
def test_an_unknown_verb_or_option_of_the_program_is_one_line(
    arguments: list[str], reason: str, tmp_path: Path
) -> None:
    next_step = "`bulkhaul --help` lists what can be given"
    done = bulkhaul(*arguments, folder=tmp_path, expect=2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"❌ bulkhaul: {reason}")
    assert done.stderr.endswith(f"; {next_step}\n")
    assert len(done.stderr.splitlines()) == 1
    document = json.loads(bulkhaul(*arguments, "--json", folder=tmp_path, expect=2).stdout)
    assert document["exit_code"] == 2
    assert document["error"]["thing"] == "bulkhaul"
    assert document["error"]["reason"].startswith(reason)
    assert document["error"]["next_step"] == next_step


def test_submit_names_the_jobs_that_the_array_will_leave_out(joblist: Path) -> None:
    rehearse = ("submit", "-i", joblist, "--dry-run")
    said = bulkhaul(*rehearse, folder=joblist.parent, PATH="/nowhere").stdout  # where no SLURM is
    assert "never claimed" not in said
    assert "unproven" not in said
    set_line_1(joblist, 0, "done")
    set_line_1(joblist, 1, "success")
    set_line_1(joblist, 2, "dnoe")
    said = bulkhaul(*rehearse, folder=joblist.parent, PATH="/nowhere").stdout
    lines = said.splitlines()
    assert "❗ 1 job file(s) are not valid and never claimed; `bulkhaul summarise` tells why" in lines
    assert "❗ 2 job(s) are unproven; `bulkhaul retry --unproven` sends them" in lines
    assert "--array=0-0 " in said, "one job is left to claim"


@pytest.mark.parametrize("command", ["check", "summarise", "retry", "transfer", "verify", "submit"])
def test_a_missing_joblist_is_one_line_with_the_next_step(command: str, tmp_path: Path) -> None:
    done = bulkhaul(command, "-i", "nowhere", folder=tmp_path, expect=2)
    assert done.stdout == ""
    assert (
        done.stderr
        == f"❌ {tmp_path}/nowhere: no such joblist; check --input_path, or make it with `bulkhaul extract`\n"
    )
    document = json.loads(bulkhaul(command, "-i", "nowhere", "--json", folder=tmp_path, expect=2).stdout)
    assert document["exit_code"] == 2


def test_what_the_terminals_encoding_lacks_is_escaped_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "plätze").mkdir()
    (tmp_path / "plätze" / "a.txt").write_text("todo\n/a\n---\n")
    command = [sys.executable, "-m", "bulkhaul", "summarise", "-i", "plätze"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True, check=True
    )
    assert done.stdout.splitlines()[0] == f"\\U0001f4a1 Valid input path: {tmp_path}/plätze".encode("latin-1")


def test_a_locale_that_reads_file_names_as_other_than_utf_8_is_refused(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"J1": 1})
    extract = ("extract", "-i", results, "-o", "jobs", "--target", TARGET)
    done = bulkhaul(*extract, "--json", folder=tmp_path, expect=2, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.stderr.endswith(" locale: file names would be read as ascii; set LC_ALL=C.UTF-8 or PYTHONUTF8=1\n")
    assert len(done.stderr.splitlines()) == 1
    assert json.loads(done.stdout)["exit_code"] == 2
    assert not (tmp_path / "jobs").exists()
    bulkhaul(*extract, folder=tmp_path, LC_ALL="C", PYTHONUTF8="1", PYTHONCOERCECLOCALE="0")
    assert (tmp_path / "jobs").exists()


def test_a_bad_setting_ends_the_command_before_anything_happens(tmp_path: Path) -> None:
    (tmp_path / "bulkhaul.toml").write_text("lease_tll = 5\n")
    results = make_results(tmp_path, {"J1": 1})
    done = bulkhaul("extract", "-i", results, "-o", "jobs", "--target", TARGET, folder=tmp_path, expect=2)
    assert "lease_tll" in done.stderr
    assert "`lease_ttl`" in done.stderr
    assert not (tmp_path / "jobs").exists()
