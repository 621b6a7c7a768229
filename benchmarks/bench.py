"""`make bench`: bulkhaul and its peers side by side, interleaved, as ratios; `bench.py --help` says what to choose."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from commands import commands
from curves import FULL, SIZES, curves
from endpoints import Endpoint, endpoints
from figures import RATES, by_program
from machine import circumstances
from programs import PROGRAMS, Program, install_peers
from resume import resume
from rounds import measure
from stages import stages
from targets import judge
from workloads import WORKLOADS, Workload

# Those that the curves compare: the others need minutes where these need seconds.
_FAST = ("bulkhaul", "s5cmd")
_REPORTS = ("stages", "scale", "resume", "commands")


def main(
    only: Annotated[str, typer.Option(help="Workloads and reports, separated by commas.")] = ",".join(
        (*WORKLOADS, *_REPORTS)
    ),
    programs: Annotated[str, typer.Option(help="Programs, separated by commas.")] = ",".join(PROGRAMS),
    rounds: Annotated[int, typer.Option(help="Runs of each program.")] = 3,
    scale: Annotated[float, typer.Option(help="Part of the files of each workload.")] = 1.0,
    full: Annotated[bool, typer.Option("--full", help="The curves to 10^6 files.")] = False,
    output: Annotated[Path, typer.Option(help="Folder of the results, as JSON.")] = Path("benchmarks/results"),
) -> None:
    """Measure programs on workloads: A B C A B C ...; print the median of each and its ratio to bulkhaul."""
    compared = [PROGRAMS[name] for name in programs.split(",")]
    if any(program.name != "bulkhaul" for program in compared):
        install_peers()
    names = only.split(",")
    around = circumstances(compared, scale=scale, rounds=rounds)
    results: dict[str, Any] = {"bench": {**around, "workloads": {}}, "reports": {}}
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bulkhaul-bench-") as name:
        folder = Path(name)
        chosen = [WORKLOADS[name] for name in names if name not in _REPORTS]
        with endpoints(folder, {workload.server for workload in chosen}) as servers:
            for load in chosen:
                results["bench"]["workloads"][load.name] = _workload(load, servers, compared, around, folder)
                _save(output / "latest.json", results["bench"])
            for kind in (kind for kind in _REPORTS if kind in names):
                sizes = [round(size * scale) for size in ((*SIZES, FULL) if full else SIZES)]
                found = _report(kind, servers, compared, sizes, around, folder)
                results["reports"][kind] = {**found, "measured": around}
                _save(output / f"{kind}.json", results["reports"][kind])
    _print_targets(results)


def _workload(
    workload: Workload,
    servers: dict[str, Endpoint],
    compared: Sequence[Program],
    around: dict[str, Any],
    folder: Path,
) -> dict[str, Any]:
    load = workload.scaled(around["scale"]) if around["scale"] != 1 else workload
    measured = measure(load, servers[load.server], compared, rounds=around["rounds"], folder=folder)
    _print(workload, measured)
    return measured


def _report(
    kind: str,
    servers: Mapping[str, Endpoint],
    compared: Sequence[Program],
    sizes: Sequence[int],
    around: dict[str, Any],
    folder: Path,
) -> dict[str, Any]:
    scale, rounds = around["scale"], around["rounds"]
    if kind == "stages":
        found = stages(folder, servers, scale=scale, rounds=rounds)
    elif kind == "scale":
        fast = [program for program in compared if program.name in _FAST]
        found = curves(folder, servers["sink"], fast, sizes=sizes, rounds=rounds)
    elif kind == "resume":
        found = resume(folder, servers["sink"], scale=scale, rounds=rounds)
    else:
        found = commands(folder, scale=scale, rounds=rounds)
    _print_report(found)
    return found


def _save(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=1) + "\n")


def _print(workload: Workload, measured: dict[str, Any]) -> None:
    rows = by_program(measured)
    own = rows.get("bulkhaul")
    print(f"\n{workload.name}: {workload.title}")
    for name, row in rows.items():
        words = [
            f"{title} {row[title]:.3g}" for title in ("wall s", *sorted(RATES), "CPU-s/1000", "CPU-s/GiB", "RSS MiB")
        ]
        if own is not None and name != "bulkhaul":
            words.append(f"bulkhaul: {own['objects/s'] / row['objects/s']:.2f} x rate")
            words.append(f"{own['CPU-s/1000'] / row['CPU-s/1000']:.2f} x CPU")
        print(f"  {name:9}", ", ".join(words), flush=True)


def _print_report(found: dict[str, Any]) -> None:
    print(f"\n{found['title']}")
    for table in found["tables"]:
        for row in table["rows"]:
            words = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row)
            print(" ", ", ".join(f"{title} {word}" for title, word in zip(table["columns"], words, strict=True)))


def _print_targets(results: dict[str, Any]) -> None:
    print("\nTargets")
    for what, wanted, found, verdict in judge(results):
        print(f"  {what}: {wanted}: {found} {verdict}")


if __name__ == "__main__":
    typer.run(main)
