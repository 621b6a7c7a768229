"""The numbered scripts: thin, the same as the commands, and helpful where the package is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # a process or a server a test

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
VERBS = {
    "01_extract_joblist.py": "extract",
    "01_extract_joblist_from_results_folder.py": "extract",
    "02_check_joblist.py": "check",
    "03_submit_array.py": "submit",
    "04_transfer_plates.py": "transfer",
    "05_verify_transfer.py": "verify",
    "summarise_jobs.py": "summarise",
}

# The users' notes type these; they must never go away.
NOTED = {
    "01_extract_joblist.py": {"--input_path", "-i", "--output_path", "-o", "--verbosity", "-v", "--dry-run"},
    "01_extract_joblist_from_results_folder.py": {"--input_path", "--output_path", "--verbosity", "--dry-run"},
    "04_transfer_plates.py": {"--input_path", "-i", "--verbosity", "-v", "--dry-run"},
    "summarise_jobs.py": {"--input_path", "-i", "--verbosity", "-v", "--dry-run"},
}

each_script = pytest.mark.parametrize("script", sorted(VERBS))


def run(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "COLUMNS": "200", **environment}, capture_output=True, text=True
    )


def test_every_script_is_known_here() -> None:
    assert {path.name for path in SCRIPTS.glob("*.py")} == {*VERBS, "_run.py", "demo.py"}


@each_script
def test_a_script_has_at_most_12_lines(script: str) -> None:
    assert len((SCRIPTS / script).read_text().splitlines()) <= 12


@each_script
def test_a_script_offers_what_its_command_offers(script: str, tmp_path: Path) -> None:
    of_script = run(sys.executable, str(SCRIPTS / script), "--help", folder=tmp_path)
    of_command = run(sys.executable, "-m", "bulkhaul", VERBS[script], "-h", folder=tmp_path)
    assert (of_script.returncode, of_script.stderr) == (0, "")
    verb = VERBS[script]
    expected = of_command.stdout.replace(f"python -m bulkhaul {verb} [", f"{script} [", 1)
    expected = expected.replace(f"bulkhaul {verb} [", f"{script} [", 1)
    assert of_script.stdout == expected.replace(f"    bulkhaul {verb}", f"    python {script}")
    assert NOTED.get(script, set()) <= set(of_script.stdout.replace(",", " ").split())


@each_script
def test_a_script_ends_with_its_commands_exit_code(script: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    of_script = run(sys.executable, str(SCRIPTS / script), "-i", missing, folder=tmp_path)
    of_command = run(sys.executable, "-m", "bulkhaul", VERBS[script], "-i", missing, folder=tmp_path)
    assert of_script.returncode == of_command.returncode != 0
    assert of_script.stderr == of_command.stderr
    assert len(of_script.stderr.splitlines()) == 1


@each_script
def test_without_the_package_a_script_says_make_env(script: str, tmp_path: Path) -> None:
    # -S: no site-packages, as in a Python that bulkhaul was never installed in.
    done = run(sys.executable, "-S", str(SCRIPTS / script), folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "make env" in done.stderr


@pytest.mark.parametrize("program", [[str(SCRIPTS / "summarise_jobs.py")], ["-m", "bulkhaul", "summarise"]])
def test_ctrl_c_while_the_program_loads_is_no_traceback(tmp_path: Path, program: list[str]) -> None:
    # What a person's Ctrl-C does in the third of a second before the command itself begins.
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    done = run(sys.executable, *program, "-i", "nowhere", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (130, "")
