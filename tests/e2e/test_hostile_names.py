"""Names that a shell would run, or that look like options, are names: no shell ever reads a user's text."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from e2e.lab import CHECKOUT, make_lab
from e2e.oracle import assert_arrived, plain_client

pytestmark = [pytest.mark.s3, pytest.mark.slow]

PLATES = [
    "$(touch pwned-1)",
    "`touch pwned-2`",
    "; touch pwned-3 ;",
    "&& touch pwned-4 #",
    "| touch pwned-5",
    "-rf",
    "--array=0-99",
    'it\'s "quoted" $HOME',
    "%A_%a %j",
    "*?[a]{b}~",
]
SBATCH = """#!/bin/bash
case ${0##*/} in scontrol) echo "MaxArraySize = 1001"; exit;; esac
echo 7
exec bash "${@: -2:1}" "${@: -1}" >&2
"""


class Reader:
    """Somebody who works on a joblist whose own name is hostile too, with a SLURM that runs scripts at once."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.results = folder / "results $(touch pwned-6)"
        self.joblist = folder / "-jobs; $(touch pwned-7)"
        programs = folder / "bin"
        programs.mkdir()
        for name in ("sbatch", "scontrol"):
            (programs / name).write_text(SBATCH)
            (programs / name).chmod(0o755)
        self.env = {**env, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *words: object, expect: int = 0) -> str:
        command = [sys.executable, "-m", "bulkhaul", *map(str, words)]
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=100)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def pwned(self) -> list[Path]:
        """What a shell would have made, there or in the checkout."""
        found = [path for path in self.folder.rglob("pwned*") if not path.is_relative_to(self.results)]
        return [*found, *CHECKOUT.glob("pwned*")]


@pytest.fixture
def reader(tmp_path: Path, bucket: str, s3_env: Mapping[str, str]) -> Iterator[Reader]:
    lab = make_lab(tmp_path, bucket=bucket, env=s3_env)
    reader = Reader(tmp_path, lab.env)
    for plate in PLATES:
        (reader.results / plate).mkdir(parents=True)
        (reader.results / plate / plate).write_text(plate)
    target = f"s3://{bucket}/lab"
    reader.run("extract", "-i", reader.results, "-o", reader.joblist, "--layout", "folders", "--target", target)
    yield reader
    lab.close()


def test_hostile_names_pass_through_every_step(reader: Reader, bucket: str) -> None:
    reader.run("check", "-i", reader.joblist, "-v", 2)
    shown = reader.run("submit", "-i", reader.joblist, "--array-size", 1, "--dry-run")
    line = next(line for line in shown.splitlines() if "Command: " in line).partition("Command: ")[2]
    done = subprocess.run(["bash", "-c", line], cwd=reader.folder, env=reader.env, capture_output=True, text=True)
    assert done.stdout == "7\n", done.stderr
    assert f"{len(PLATES)} job(s) succeeded, 0 failed" in done.stderr
    for plate in PLATES:
        path = reader.joblist / f"{plate}.txt"
        path.write_text(path.read_text().replace("success", "todo", 1))
    assert "Set back 0 job(s)" in reader.run("retry", "-i", reader.joblist, "--", *PLATES, expect=2)
    reader.run("submit", "-i", reader.joblist, "--array-size", 1)
    reader.run("verify", "-i", reader.joblist)
    reader.run("policy", "--role", "worker", "-i", reader.joblist)
    assert f"Success jobs: {len(PLATES)}" in reader.run("summarise", "-i", reader.joblist, "-v", 3)
    for plate in PLATES:
        assert_arrived(plain_client(reader.env), reader.results / plate, bucket=bucket, prefix=f"lab/{plate}")
    assert reader.pwned() == []


def test_a_line_break_in_a_name_is_refused_before_any_job(reader: Reader, tmp_path: Path, bucket: str) -> None:
    (tmp_path / "other" / "a\nsuccess").mkdir(parents=True)
    words = ("-i", tmp_path / "other", "-o", tmp_path / "jobs", "--layout", "folders", "--target", f"s3://{bucket}/x")
    said = reader.run("extract", *words, expect=66)
    assert "rename the folder" in said
    assert not (tmp_path / "jobs").exists()


def test_the_test_would_see_a_shell(reader: Reader) -> None:
    subprocess.run(["bash", "-c", f"cd '{reader.folder}'; echo {PLATES[0]}"], check=True)
    assert [path.name for path in reader.pwned()] == ["pwned-1"]
