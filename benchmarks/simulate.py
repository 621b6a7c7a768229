"""Simulate many workers on one joblist with bulkhaul's own decisions; `simulate.py --help` says what to choose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from reports import report
from simulation import results, runs
from simulation.campaign import Outcome

WHAT = ("claims", "joblist", "silence", "sending")


def main(
    workers: Annotated[int, typer.Option(min=1, help="Workers of the array.")] = 1_000,
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of the joblist.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same results.")] = 1,
    only: Annotated[str, typer.Option(help="What to simulate, separated by commas.")] = ",".join(WHAT),
    output: Annotated[Path, typer.Option(help="Where the results go, as JSON.")] = Path(
        "benchmarks/results/simulation.json"
    ),
) -> None:
    """Simulate claims, a whole joblist, deaths that nobody tells of, and sending to one prefix; print tables."""
    chosen = only.split(",")
    if unknown := set(chosen) - set(WHAT):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose from {', '.join(WHAT)}")
    found = simulated(chosen, workers=workers, jobs=jobs, seed=seed)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=1) + "\n")
    print(results.printed(found))


def simulated(chosen: list[str], *, workers: int, jobs: int, seed: int) -> dict[str, Any]:
    """The results of the chosen simulations; they depend on the arguments alone."""
    tables: list[dict[str, Any]] = []
    plots: list[dict[str, Any]] = []
    deaths: dict[str, Outcome] = {}
    if "claims" in chosen:
        tables.append(results.of_claims(runs.claims(workers=workers, jobs=jobs, seed=seed)))
    if "joblist" in chosen:
        outcome = deaths["SLURM and heartbeats"] = runs.joblist(workers=workers, jobs=jobs, seed=seed)
        tables += [results.of_joblist(outcome), results.of_calls(outcome)]
        plots += results.curves(outcome)
    if "silence" in chosen:
        deaths["heartbeats alone"] = runs.silence(workers=workers, jobs=jobs, seed=seed)
    if deaths:
        tables.append(results.of_deaths(deaths))
    if "sending" in chosen:
        found = runs.sending(workers=workers, seed=seed)
        tables.append(results.of_sending(found))
        plots += results.rates(found)
    title = f"{workers:,} workers on {jobs:,} jobs, simulated"
    return report(title, [*results.NOTES, f"Seed {seed}."], tables=tables, plots=plots)


if __name__ == "__main__":
    typer.run(main)
