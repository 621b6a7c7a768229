"""One run of one program: wall time, CPU of its process tree, peak memory of its largest process."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds, CPU seconds (user and system, of all processes that were waited for), bytes; requests by their kind."""

    wall: float
    cpu: float
    rss: int
    requests: Mapping[str, int] = field(default_factory=dict)


_EVERY = 0.02  # seconds


class RunFailed(Exception):
    """The program did not do its work."""


class _PeakMemory:
    """Looks at a process and its children again and again: what `wait4` tells includes this program before the exec."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY):
            self.peak = max([self.peak, *map(_peak_of, process_tree(self._pid))])


def process_tree(pid: int) -> Iterator[int]:
    """The process and all below it, as far as they live."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from process_tree(int(child))


def _peak_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


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
        with _PeakMemory(process.pid) as memory:
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunFailed(f"{command} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, memory.peak)
