"""Libraries that are preloaded into the programs under test: the tests' own, compiled on the spot, and libfaketime."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import libfaketime

from servers.required import missing


def built(name: str, folder: Path) -> Path:
    """The library of `NAME.c` beside this module, compiled into `folder`; where no compiler is the test ends."""
    compiler = shutil.which("cc")
    if compiler is None:
        missing("cc", "no cc on PATH")
    library = folder / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def false_clock() -> Path:
    """The library that gives a program a clock of its own."""
    return next(Path(libfaketime.__file__).parent.rglob("libfaketime.so.1"))


def forget_false_clock(pid: int) -> None:
    """Remove what that library leaves of a process that was killed."""
    for left in Path("/dev/shm").glob(f"*faketime_*_{pid}"):
        left.unlink(missing_ok=True)
