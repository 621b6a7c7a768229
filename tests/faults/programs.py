"""Modules of the tests as programs of their own, and a place where they write quickly."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from faults.figure import CHECKOUT
from servers.preloaded import forget_false_clock

_MEMORY = Path("/dev/shm")


class Surroundings(TypedDict):
    """What `subprocess` is told besides the command."""

    cwd: Path
    env: dict[str, str]


SURROUNDINGS = Surroundings(
    cwd=CHECKOUT / "tests", env={**os.environ, "PYTHONPATH": f"{CHECKOUT}/tests:{CHECKOUT}/benchmarks"}
)


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of the tests; needs `SURROUNDINGS`."""
    return [sys.executable, "-m", module, *map(str, arguments)]


@contextmanager
def running(command: list[str], surroundings: Surroundings, *, first_line: str) -> Iterator[subprocess.Popen[str]]:
    """A program from the moment at which it has said that it is ready; killed at the end."""
    process = subprocess.Popen(command, **surroundings, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{first_line}\n"
        yield process
    finally:
        process.kill()
        process.communicate()
        forget_false_clock(process.pid)


@contextmanager
def quick_folder(folder: Path) -> Iterator[Path]:
    """A folder in memory, where that can be had: many thousands of writes that are made durable one by one."""
    if not _MEMORY.is_dir():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="bulkhaul-figure-", dir=_MEMORY) as quick:
        yield Path(quick)
