"""What the commands refuse, each in one line with the next step and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typed import TARGET, bulkhaul, make_results, set_line_1

pytestmark = pytest.mark.slow  # a process or a server a test


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
