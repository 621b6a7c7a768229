"""Run Python under a uid without rights: root reads and writes everything, so cases of rights need another one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_DROP = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def run_unprivileged(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the Python text `program` with `arguments` as somebody who owns nothing."""
    command, env = unprivileged(program, *arguments), without_coverage(os.environ)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd="/", env=env)


def unprivileged(program: str, *arguments: object) -> list[str]:
    """The command that runs the Python text `program` with `arguments` as somebody who owns nothing."""
    return [*(_DROP if os.geteuid() == 0 else []), sys.executable, "-B", "-c", program, *map(str, arguments)]


def without_coverage(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for such a process: coverage would write its data into a checkout that this uid cannot write."""
    return {name: value for name, value in env.items() if not name.startswith("COV")}


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A temporary folder that any uid can enter and read (pytest's own are private)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
