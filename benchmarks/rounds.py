"""Programs on one workload, A B C A B C ..., each run on an emptied server, and all that arrived counted."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from endpoints import Endpoint
from measuring import Sample, run
from programs import Job, Program
from workloads import Workload, write_tree


class NotAll(Exception):
    """A program ended well and left something behind."""


def measure(
    workload: Workload, server: Endpoint, programs: Sequence[Program], *, rounds: int, folder: Path
) -> dict[str, Any]:
    """The samples of each program, with the files and bytes that it was given.

    Raises:
        NotAll: not all files are at the server after a run.
        RunFailed: a program failed.
    """
    samples: dict[str, list[Sample]] = {program.name: [] for program in programs}
    loads = {program.name: _load(program, workload) for program in programs}
    for load in loads.values():
        write_tree(folder / load.tree, load.files)
    for program in _interleaved(programs, rounds):
        job = job_at(server, folder, loads[program.name])
        server.clear()
        sample = _one(program, loads[program.name], server, job)
        samples[program.name].append(sample)
        print(f"  {program.name}: {sample.wall:.2f} s, {sample.cpu:.2f} CPU-s", file=sys.stderr, flush=True)
    return {
        "title": workload.title,
        "programs": {
            name: {
                "files": loads[name].count,
                "bytes": loads[name].nbytes,
                "samples": [asdict(sample) for sample in found],
            }
            for name, found in samples.items()
        },
    }


def job_at(server: Endpoint, folder: Path, load: Workload) -> Job:
    """The job of moving a workload's tree to a server."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(scratch), **server.environment}
    return Job(folder / load.tree, server.url, env, scratch, again=False)


def send(program: Program, job: Job, server: Endpoint) -> Sample:
    """One measured run, with the requests that it made."""
    command = program.command(job)
    before = server.requests()
    sample = run(command, env=job.environment, log=job.scratch / "log")
    made = Counter(server.requests())
    made.subtract(before)
    return replace(sample, requests=dict(made))


def check_arrived(program: Program, load: Workload, server: Endpoint) -> None:
    """Count what is at the server.

    Raises:
        NotAll: it is not what was to be sent.
    """
    objects, nbytes = server.count()
    if objects != load.count + program.extra_objects or nbytes < load.nbytes:
        raise NotAll(f"{program.name}: {objects} objects, {nbytes} bytes of {load.count} files, {load.nbytes} bytes")


def _load(program: Program, workload: Workload) -> Workload:
    return workload.scaled(workload.slow_share) if workload.server in program.slow_at else workload


def _interleaved(programs: Sequence[Program], rounds: int) -> Iterator[Program]:
    for _ in range(rounds):
        yield from programs


def _one(program: Program, load: Workload, server: Endpoint, job: Job) -> Sample:
    if load.again:
        send(program, job, server)
    sample = send(program, replace(job, again=load.again), server)
    check_arrived(program, load, server)
    return sample
