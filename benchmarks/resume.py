"""bulkhaul killed in the middle of large files, then started again: what is sent twice, and how soon it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from endpoints import Endpoint
from measuring import process_tree
from programs import PROGRAMS, Job
from reports import report, table
from rounds import check_arrived, job_at
from workloads import GIB, MIB, Files, Workload, write_tree

_EVERY = 0.005  # seconds between two looks at the server's counters
_PART = MIB  # what the probe sends is smaller, a part larger
_LEAST = 256 * MIB  # of a file: there must be some parts before the kill and some after it
_BULKHAUL = PROGRAMS["bulkhaul"]


def resume(folder: Path, server: Endpoint, *, scale: float, rounds: int) -> dict[str, Any]:
    """The report of `rounds` transfers of 2 x 1 GiB (or a part) that were killed when a third of the bytes had come."""
    size = max(_LEAST, round(GIB * scale))
    load = Workload("resume", f"2 x {size // MIB:,} MiB", (Files(2, size),))
    write_tree(folder / load.tree, load.files)
    rows = [_killed(load, server, job_at(server, folder, load)) for _ in range(rounds)]
    return report(
        "Killed with kill -9 in the middle of large files, and started again",
        [
            f"{load.title}. The sink counts a part when all of it has come: what was in flight at the kill is in no "
            "count, so *sent again* is what had come whole and was sent again all the same.",
        ],
        tables=[table("Runs", ("come before the kill MiB", "sent again MiB", "first part after restart s"), rows)],
        figures={
            "sent again after kill -9, MiB": max(row[1] for row in rows),
            "first part after kill -9, s": max(row[2] for row in rows),
        },
    )


def _killed(load: Workload, server: Endpoint, job: Job) -> tuple[float, float, float]:
    server.clear()
    command = [str(word) for word in _BULKHAUL.command(job)]
    process = _start(command, job)
    _wait_for(server, load.nbytes // 3, process)
    for pid in list(process_tree(process.pid)):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    before = server.requests()["bytes"]
    begun = time.perf_counter()
    process = _start(command, job)
    _wait_for(server, before + _PART, process)
    seconds = time.perf_counter() - begun
    if process.wait():
        raise RuntimeError(f"started again it ended with {process.returncode}: {(job.scratch / 'log').read_text()}")
    check_arrived(_BULKHAUL, load, server)
    return before / MIB, (server.requests()["bytes"] - load.nbytes) / MIB, seconds


def _start(command: list[str], job: Job) -> subprocess.Popen[bytes]:
    with (job.scratch / "log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(job.environment))


def _wait_for(server: Endpoint, nbytes: int, process: subprocess.Popen[bytes]) -> None:
    while server.requests()["bytes"] < nbytes:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode} before {nbytes} bytes had come")
        time.sleep(_EVERY)
