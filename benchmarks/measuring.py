"""One run of one program: wall time, CPU of its process tree, peak memory of its largest process."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds, CPU seconds (user and system, of all processes that were waited for) and bytes."""

    wall: float
    cpu: float
    rss: int


class RunFailed(Exception):
    """The program did not do its work."""


def run(command: Sequence[str | Path], *, env: Mapping[str, str], log: Path) -> Sample:
    """Run the command to its end and measure it.

    Raises:
        RunFailed: it ended with another code than 0.
    """
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(env)
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunFailed(f"{command} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
