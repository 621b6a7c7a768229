"""The upload of small files from a folder that answers slowly; `slow_source.py --help` says what to choose."""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from endpoints import Endpoint, endpoints
from measuring import Sample, run
from programs import PROGRAMS, Job
from workloads import KIB, Files, write_tree

from servers.preloaded import built
from servers.slow_files import Calls, SlowFiles


def main(
    files: Annotated[int, typer.Option(help="Files of 16 KiB, 100 in each folder.")] = 20_000,
    milliseconds: Annotated[str, typer.Option(help="Time of one call, separated by commas.")] = "0,1,2,5",
    rounds: Annotated[int, typer.Option(help="Runs with each.")] = 3,
) -> None:
    """Print files/s and the most calls at one time for each time of a call: A B C A B C ..., medians."""
    times = [float(time) / 1000 for time in milliseconds.split(",")]
    found: dict[float, list[tuple[Sample, list[Calls]]]] = {time: [] for time in times}
    with tempfile.TemporaryDirectory(prefix="bulkhaul-bench-") as name:
        folder = Path(name)
        write_tree(folder / "tree", (Files(files, 16 * KIB, max(1, files // 100)),))
        library = built("slow_files", folder)
        (folder / "scratch").mkdir()
        with endpoints(folder, {"sink"}) as servers:
            for _ in range(rounds):
                for time in times:
                    found[time].append(_one(servers["sink"], folder, library, time))
    for time, measured in found.items():
        wall = statistics.median(sample.wall for sample, _ in measured)
        most = max(sum(process.most_at_once for process in calls) for _, calls in measured)
        asked = sum(process.listings + process.stats + process.opens + process.reads for process in measured[0][1])
        print(
            f"{time * 1000:g} ms a call: {files / wall:.0f} files/s, {most} calls at most at one time, "
            f"{asked * time / wall:.1f} x as fast as call by call"
        )


def _one(server: Endpoint, folder: Path, library: Path, seconds: float) -> tuple[Sample, list[Calls]]:
    counts = folder / "counts"
    counts.unlink(missing_ok=True)
    source = SlowFiles(library, folder / "tree", round_trip=seconds, counts=counts)
    env = {"PATH": os.environ["PATH"], "HOME": str(folder / "scratch"), **server.environment}
    server.clear()
    command = PROGRAMS["bulkhaul"].command(Job(folder / "tree", server.url, env, folder / "scratch", again=False))
    return run(command, env={**env, **source.environment}, log=folder / "log"), source.calls()


if __name__ == "__main__":
    typer.run(main)
