"""`make bench`: bulkhaul and its peers side by side, interleaved, as ratios; `bench.py --help` says what to choose."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from endpoints import Endpoint, endpoints
from measuring import Sample, run
from programs import PROGRAMS, Job, Program, install_peers, versions
from workloads import WORKLOADS, Workload, write_tree


def main(
    only: Annotated[str, typer.Option(help="Workloads, separated by commas.")] = ",".join(WORKLOADS),
    programs: Annotated[str, typer.Option(help="Programs, separated by commas.")] = ",".join(PROGRAMS),
    rounds: Annotated[int, typer.Option(help="Runs of each program.")] = 3,
    scale: Annotated[float, typer.Option(help="Part of the files of each workload.")] = 1.0,
    output: Annotated[Path, typer.Option(help="Where the results go, as JSON.")] = Path(
        "benchmarks/results/latest.json"
    ),
) -> None:
    """Measure programs on workloads: A B C A B C ...; print the median of each and its ratio to bulkhaul."""
    install_peers()
    chosen = [WORKLOADS[name] for name in only.split(",")]
    compared = [PROGRAMS[name] for name in programs.split(",")]
    results: dict[str, Any] = {"machine": _machine(), "versions": {**versions(), "bulkhaul": version("bulkhaul")}}
    results["workloads"] = {}
    with tempfile.TemporaryDirectory(prefix="bulkhaul-bench-") as name:
        folder = Path(name)
        with endpoints(folder, {workload.server for workload in chosen}) as servers:
            for workload in chosen:
                load = workload.scaled(scale) if scale != 1 else workload
                measured = _measure(load, servers, compared, rounds, folder)
                results["workloads"][workload.name] = measured
                _print(workload, measured)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=1) + "\n")


def _measure(
    workload: Workload, servers: dict[str, Endpoint], programs: list[Program], rounds: int, folder: Path
) -> dict[str, Any]:
    server = servers[workload.server]
    samples: dict[str, list[Sample]] = {program.name: [] for program in programs}
    loads = {program.name: _load(program, workload) for program in programs}
    for load in loads.values():
        write_tree(folder / load.tree, load.files)
    for program in _interleaved(programs, rounds):
        load = loads[program.name]
        sample = _one(program, load, server, folder)
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


def _load(program: Program, workload: Workload) -> Workload:
    return workload.scaled(workload.slow_share) if workload.server in program.slow_at else workload


def _interleaved(programs: list[Program], rounds: int) -> Iterator[Program]:
    for _ in range(rounds):
        yield from programs


def _one(program: Program, load: Workload, server: Endpoint, folder: Path) -> Sample:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(scratch), **server.environment}
    server.clear()
    if load.again:
        first = Job(folder / load.tree, server.url, env, scratch, again=False)
        run(program.command(first), env=env, log=folder / "log")
    job = Job(folder / load.tree, server.url, env, scratch, again=load.again)
    sample = run(program.command(job), env=env, log=folder / "log")
    objects, nbytes = server.count()
    assert objects == load.count + program.extra_objects, f"{program.name} left {objects} objects of {load.count}"
    assert nbytes >= load.nbytes
    return sample


def figures(measured: dict[str, Any]) -> dict[str, float]:
    """Medians of a program on a workload: files/s, MiB/s, CPU-s per 1,000 files and per GiB, MiB of memory."""
    samples = measured["samples"]
    wall = statistics.median(sample["wall"] for sample in samples)
    cpu = statistics.median(sample["cpu"] for sample in samples)
    return {
        "wall": wall,
        "files/s": measured["files"] / wall,
        "MiB/s": measured["bytes"] / wall / 2**20,
        "CPU-s/1000": cpu / measured["files"] * 1000,
        "CPU-s/GiB": cpu / measured["bytes"] * 2**30,
        "RSS MiB": statistics.median(sample["rss"] for sample in samples) / 2**20,
    }


def _print(workload: Workload, measured: dict[str, Any]) -> None:
    rows = {name: figures(found) for name, found in measured["programs"].items()}
    own = rows.get("bulkhaul")
    print(f"\n{workload.name}: {workload.title}")
    for name, row in rows.items():
        words = [f"{title} {value:.3g}" for title, value in row.items()]
        if own is not None and name != "bulkhaul":
            words.append(f"bulkhaul: {own['files/s'] / row['files/s']:.2f} x rate")
            words.append(f"{own['CPU-s/1000'] / row['CPU-s/1000']:.2f} x CPU")
        print(f"  {name:9}", ", ".join(words), flush=True)


def _machine() -> dict[str, Any]:
    return {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


if __name__ == "__main__":
    typer.run(main)
