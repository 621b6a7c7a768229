"""Where the time of one run goes: what each stage of bulkhaul's takes in W1 and W4."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from endpoints import Endpoint
from programs import PROGRAMS, Job
from reports import report, table
from rounds import check_arrived, job_at
from workloads import WORKLOADS, write_tree

_BULKHAUL = PROGRAMS["bulkhaul"]
_STAGED = Path(__file__).with_name("staged.py")
_NAMES = {
    "": "start: Python, imports, claim, probe",
    "plan": "plan: walk, first page",
    "upload": "upload, beside the rest of the plan",
    "verify": "verify: list again, compare",
    "manifest": "manifest: write and put; commit; end",
}


def stages(folder: Path, servers: Mapping[str, Endpoint], *, scale: float, rounds: int) -> dict[str, Any]:
    """The report: medians of `rounds` runs of W1, and of W4 on its own server."""
    loads = [WORKLOADS[name].scaled(scale) if scale != 1 else WORKLOADS[name] for name in ("W1", "W4")]
    found: dict[str, list[dict[str, tuple[float, float]]]] = {load.name: [] for load in loads}
    for _ in range(rounds):
        for load in loads:
            write_tree(folder / load.tree, load.files)
            server = servers[load.server]
            server.clear()
            job = job_at(server, folder, load)
            run = _run(job)
            found[load.name].append(_run(replace(job, again=True)) if load.again else run)
            check_arrived(_BULKHAUL, load, server)
    rows = [
        [f"{name}, {title}", *_medians(runs, stage)]
        for name, runs in found.items()
        for stage, title in _NAMES.items()
        if stage in runs[0]
    ]
    count = loads[0].count
    return report(
        "Where the time goes",
        [
            f"{count:,} files, null sink; CPU is that of all its processes; the sink takes some too. "
            "The first row is what a run takes besides its files.",
        ],
        tables=[table("Stages", ("stage", "wall s", "CPU s", "µs of CPU a file"), _per_file(rows, count))],
    )


def _per_file(rows: list[list[Any]], files: int) -> list[list[Any]]:
    return [[*row, row[2] / files * 1e6] for row in rows]


def _medians(runs: list[dict[str, tuple[float, float]]], stage: str) -> tuple[float, float]:
    wall, cpu = zip(*(run[stage] for run in runs), strict=True)
    return statistics.median(wall), statistics.median(cpu)


def _run(job: Job) -> dict[str, tuple[float, float]]:
    """Wall and CPU seconds of each stage; what comes before the first has no name."""
    _BULKHAUL.command(job)  # makes the joblist anew, or sets its jobs back
    command = [sys.executable, str(_STAGED), str(job.scratch / "joblist")]
    before, begun = _cpu_of_children(), time.monotonic()
    with (job.scratch / "log").open("wb") as log:
        done = subprocess.run(command, env=dict(job.environment), stdout=subprocess.PIPE, stderr=log, check=True)
    marks = [("", begun, 0.0), *(tuple(json.loads(line)) for line in done.stdout.splitlines())]
    ends = [*((at, cpu) for _, at, cpu in marks[1:]), (time.monotonic(), _cpu_of_children() - before)]
    return {stage: (end - at, spent - cpu) for (stage, at, cpu), (end, spent) in zip(marks, ends, strict=True)}


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
