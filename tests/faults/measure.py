"""`make figure`: measure one claim of docs/reliability.md and append it to the results."""

from __future__ import annotations

import secrets
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from faults.figure import RESULTS, keep, present_code


def main(
    name: Annotated[str, typer.Argument(help="A module of tests/faults/figures.")],
    amount: Annotated[int | None, typer.Option(help="Trials; without it those of a full run.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; without it a new one.")] = None,
    results: Annotated[Path, typer.Option(help="File to append to.")] = RESULTS,
) -> None:
    """Measure, print and keep; ends with 1 where a trial failed."""
    figure_of = import_module(f"faults.figures.{name}")
    amount = figure_of.USUAL if amount is None else amount
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    print(f"{figure_of.CLAIM}: {amount} trials, seed {seed}", flush=True)
    began, code = time.monotonic(), present_code()
    with tempfile.TemporaryDirectory(prefix="bulkhaul-figure-") as folder:
        figure = figure_of.measure(Path(folder), amount=amount, seed=seed)
    seconds = time.monotonic() - began
    print(f"{figure.failures} of {figure.trials} failed in {seconds:.0f} s; {figure.facts}")
    keep(
        figure,
        code,
        command=f"make figure F='{name} --amount {amount} --seed {seed}'",
        seconds=seconds,
        results=results,
    )
    raise typer.Exit(1 if figure.failures else 0)


if __name__ == "__main__":
    typer.run(main)
