"""Run Python under a uid without rights: root reads and writes everything, so cases of rights need another one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DROP = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def run_unprivileged(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the Python text `program` with `arguments` as somebody who owns nothing."""
    command = [*(_DROP if os.geteuid() == 0 else []), sys.executable, "-B", "-c", program, *map(str, arguments)]
    # Coverage would have to write its data into a checkout that this uid cannot write.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd="/", env=env)


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A temporary folder that any uid can enter and read (pytest's own are private)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
