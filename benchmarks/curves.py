"""Time and memory against the number of files: all to be sent, all there already, all there but the last hundred."""

from __future__ import annotations

import heapq
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from endpoints import BUCKET, Endpoint
from measuring import Sample
from programs import PREFIX, Program
from reports import plot, report, table
from rounds import NotAll, check_arrived, job_at, send
from watching import first_moment
from workloads import KIB, Files, Workload, names, write_tree

MIB = 1 << 20
MISSING = 100
SIZES = (1_000, 10_000, 100_000)
FULL = 1_000_000
_SEND, _AGAIN, _RESUME = "all sent", "all there", f"all but the last {MISSING} there"
_MILLION = "At 10^6 files bulkhaul ran alone: s5cmd syncs with both sides in memory, see how that grows."
Curve = dict[int, list[Sample]]  # by the number of files


def curves(
    folder: Path, server: Endpoint, programs: Sequence[Program], *, sizes: Sequence[int], rounds: int
) -> dict[str, Any]:
    """The report of trees of `sizes` files of 4 KiB, `rounds` times each but the largest of all, which is run once."""
    found: dict[tuple[str, str], Curve] = {}
    first_file: list[float] = []
    for size in sizes:
        load = Workload("scale", f"{size} x 4 KiB", (Files(size, 4 * KIB, max(1, size // 100)),))
        write_tree(folder / load.tree, load.files)
        first_file.clear()
        for program in _turns(programs, size, rounds):
            samples, seconds = _runs(program, load, server, folder)
            first_file += seconds
            for what, sample in samples.items():
                found.setdefault((program.name, what), {}).setdefault(size, []).append(sample)
                print(f"  {program.name}: {size} files, {what}: {sample.wall:.2f} s", file=sys.stderr, flush=True)
    return _report(found, max(sizes), first_file)


def _turns(programs: Sequence[Program], size: int, rounds: int) -> list[Program]:
    if size < FULL:
        return [*programs] * rounds
    return [program for program in programs if program.name == "bulkhaul"]


def _runs(program: Program, load: Workload, server: Endpoint, folder: Path) -> tuple[dict[str, Sample], list[float]]:
    """One run of each kind, and for bulkhaul the seconds to the first file in the last kind."""
    job = job_at(server, folder, load)
    server.clear()
    samples = {_SEND: send(program, job, server)}
    check_arrived(program, load, server)
    again = replace(job, again=True)
    samples[_AGAIN] = send(program, again, server)
    if program.name != "bulkhaul":
        return samples, []
    _take_away(server, load)
    # What the probe puts there is smaller than a file.
    before = server.requests()["bytes"]
    with first_moment(lambda: server.requests()["bytes"] - before >= load.files[0].size) as watch:
        samples[_RESUME] = send(program, again, server)
    check_arrived(program, load, server)
    return samples, [watch.seconds]


def _take_away(server: Endpoint, load: Workload) -> None:
    """The last in the order of the listing: none of them can be found before nearly all of it has been read."""
    keys = heapq.nlargest(MISSING, (f"{PREFIX}/{name}" for name, _ in names(load.files)))
    before = server.requests()["objects"]
    server.client().delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys]})
    if before - server.requests()["objects"] != len(keys):
        raise NotAll(f"{keys[0]} and {len(keys) - 1} more were not there to be taken away")


def _report(found: Mapping[tuple[str, str], Curve], largest: int, first_file: Sequence[float]) -> dict[str, Any]:
    wall = {key: _medians(curve, lambda sample: sample.wall) for key, curve in found.items()}
    rss = {key: _medians(curve, lambda sample: sample.rss / MIB) for key, curve in found.items()}
    rows = [
        [name, what, size, seconds, size / seconds, rss[name, what][size]]
        for (name, what), curve in wall.items()
        for size, seconds in curve.items()
    ]
    notes = ["Files of 4 KiB, a hundred in a folder, to the null sink, which lists in byte order, 1,000 keys a page."]
    figures = _memory([curve for (name, _), curve in rss.items() if name == "bulkhaul"])
    if first_file:
        seconds = figures[f"first file of {MISSING} of {largest}, s"] = statistics.median(first_file)
        notes += [f"Of {largest:,} files without the last {MISSING}, the first came {seconds:.2f} s after the start."]
    if largest >= FULL:
        notes.append(_MILLION)
    return report(
        "Time and memory against the number of files",
        notes,
        tables=[table("Medians", ("program", "run", "files", "wall s", "files/s", "RSS MiB"), rows)],
        plots=[
            plot(title, ("files", unit), {", ".join(key): sorted(curve.items()) for key, curve in curves.items()})
            for title, unit, curves in (("Wall time", "s", wall), ("Peak memory", "MiB", rss))
        ],
        figures=figures,
    )


def _memory(curves: Sequence[Mapping[int, float]]) -> dict[str, float]:
    """Of bulkhaul: the most at each number of files, and how much a curve rises."""
    most = {f"RSS MiB at {size} files": max(curve[size] for curve in curves) for curve in curves[:1] for size in curve}
    rises = [max(curve.values()) / min(curve.values()) for curve in curves]
    return most | ({"RSS, most over least of all trees": max(rises)} if rises else {})


def _medians(curve: Curve, figure: Callable[[Sample], float]) -> dict[int, float]:
    return {size: statistics.median(map(figure, runs)) for size, runs in curve.items()}
