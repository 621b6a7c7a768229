"""One run of one program: wall time, CPU and peak memory of its process tree."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watching import watching


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds, CPU seconds (user and system, of all processes that were waited for), bytes; requests by their kind."""

    wall: float
    cpu: float
    rss: int
    requests: Mapping[str, int] = field(default_factory=dict)


class RunFailed(Exception):
    """The program did not do its work."""


def process_tree(pid: int) -> Iterator[int]:
    """The process and all below it, as far as they live."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from process_tree(int(child))


def memory_of(pids: Iterable[int]) -> int:
    """The peaks of processes together, in bytes; pages of files, which are those of libraries, are counted once."""
    found = [_status(pid) for pid in pids]
    of_files = [status.get("RssFile", 0) for status in found]
    return sum(status.get("VmHWM", 0) for status in found) - sum(of_files) + max(of_files, default=0)


def _status(pid: int) -> dict[str, int]:
    """What the kernel tells of a process's memory, in bytes; nothing of one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {field[0].rstrip(":"): int(field[1]) * 1024 for field in fields if field[2:] == ["kB"]}


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
        memory = [0]

        def look() -> bool:
            # What `wait4` tells of memory includes this program before the exec, and one process only.
            memory.append(memory_of(process_tree(process.pid)))
            return False

        with watching(look):
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunFailed(f"{command} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, max(memory))
