"""What does not move files: the help, the summary of a large joblist, many workers that claim at once."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from programs import BULKHAUL
from reports import report, table

JOBS, CLAIMED, WORKERS = 100_000, 10_000, 16
_CLAIMS = Path(__file__).with_name("claims.py")
_ALL = 1 << 30


def commands(folder: Path, *, scale: float, rounds: int) -> dict[str, Any]:
    """The report; `scale` is the part of the jobs."""
    jobs, claimed = max(10, round(JOBS * scale)), max(10, round(CLAIMED * scale))
    help_ = statistics.median(_seconds([*BULKHAUL, "--help"]) for _ in range(max(3, rounds)))
    without, with_index = _summaries(_joblist(folder / "summarised", jobs), rounds)
    seconds, doubles = _claims(_joblist(folder / "claimed", claimed), claimed)
    rows = [
        ["`bulkhaul --help`", "", help_],
        ["`bulkhaul summarise`, no worker was there yet", jobs, without],
        ["`bulkhaul summarise`, after a worker made the index", jobs, with_index],
        [f"{WORKERS} workers claim and end jobs with nothing to send", claimed, seconds],
    ]
    return report(
        "Commands and claims",
        [f"{claimed / seconds:,.0f} jobs/s claimed and ended by {WORKERS} processes, {doubles} of them twice."],
        tables=[table("Wall time", ("what", "jobs", "s"), rows)],
        figures={
            "`bulkhaul --help`, s": help_,
            "summarise without index, s": without,
            "summarise with index, s": with_index,
            "jobs claimed twice": doubles,
            "claims/s": claimed / seconds,
        },
    )


def _joblist(folder: Path, jobs: int) -> Path:
    folder.mkdir()
    for number in range(jobs):
        (folder / f"job_{number:06}.txt").write_text(f"todo\n/nowhere/{number}\ntarget: s3://bucket/{number}\n---\n")
    return folder


def _summaries(joblist: Path, rounds: int) -> tuple[float, float]:
    command = [*BULKHAUL, "summarise", "-i", joblist]
    without = statistics.median(_seconds(command) for _ in range(rounds))
    subprocess.run([sys.executable, _CLAIMS, joblist, "1"], check=True, stdout=subprocess.DEVNULL)
    return without, statistics.median(_seconds(command) for _ in range(rounds))


def _seconds(command: Sequence[str | Path]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _claims(joblist: Path, jobs: int) -> tuple[float, int]:
    """Seconds from the end of the first job to that of the last, and how many were ended twice."""
    command = [sys.executable, str(_CLAIMS), str(joblist), str(_ALL)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    ends: list[tuple[str, float]] = []
    for worker in workers:
        ends += [(name, float(at)) for name, at in map(str.split, worker.communicate()[0].splitlines())]
        if worker.returncode:
            raise RuntimeError(f"a worker ended with {worker.returncode}")
    times = [at for _, at in ends]
    names = {name for name, _ in ends}
    if len(names) != jobs:
        raise RuntimeError(f"{len(names)} of {jobs} jobs were ended")
    return max(times) - min(times), len(ends) - jobs
