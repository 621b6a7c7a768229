"""`make campaign N=1000`: that many random fault campaigns, several side by side; their sum goes to the results."""

from __future__ import annotations

import multiprocessing
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from faults.campaign.keys import PUBLIC, TOKENS
from faults.campaign.run import LEAST_FAULTS, Parts, Verdict, run_campaign
from faults.figure import CHECKOUT, RESULTS, Fact, Figure, keep, present_code
from servers.preloaded import built, false_clock
from servers.seaweed import ADMIN, Seaweed

CLAIM = "campaigns"
KEPT = CHECKOUT / "build" / "campaigns"
"""Where the folder of a campaign that failed stays."""


@contextmanager
def shared_parts(folder: Path) -> Iterator[Parts]:
    """A server that knows the campaigns' keys, and the libraries that they preload."""
    with Seaweed(folder, identities=[ADMIN, *TOKENS, PUBLIC]) as server:
        yield Parts(server, built("failing_files", folder), false_clock())


def campaign_in(seed: int, parts: Parts) -> Verdict:
    """Run one campaign in a folder of its own, which stays in `KEPT` where it failed."""
    with tempfile.TemporaryDirectory(prefix=f"campaign-{seed}-", ignore_cleanup_errors=True) as name:
        verdict = run_campaign(seed, Path(name), parts)
        if verdict.failures:
            shutil.rmtree(KEPT / str(seed), ignore_errors=True)
            shutil.copytree(name, KEPT / str(seed), ignore=shutil.ignore_patterns("results"), dirs_exist_ok=True)
    return verdict


_parts: Parts


def _one(seed: int) -> Verdict:
    try:
        return campaign_in(seed, _parts)
    except Exception as error:  # noqa: BLE001 - a campaign that breaks is a campaign that failed
        return Verdict(seed, failures=[f"the campaign broke: {type(error).__name__}: {error}"])


def run_all(seeds: Sequence[int], parts: Parts, *, side_by_side: int) -> Iterator[Verdict]:
    """The verdicts as they come."""
    global _parts
    _parts = parts
    with multiprocessing.get_context("fork").Pool(side_by_side, maxtasksperchild=20) as pool:
        yield from pool.imap_unordered(_one, seeds)


def summed(verdicts: Sequence[Verdict], seed: int) -> Figure:
    """One figure of all of them; a campaign that met too few faults counts for nothing, but where it failed."""
    mild = [verdict for verdict in verdicts if verdict.faults.total() < LEAST_FAULTS and not verdict.failures]
    verdicts = [verdict for verdict in verdicts if verdict not in mild]
    faults: Counter[str] = sum((verdict.faults for verdict in verdicts), Counter())
    facts: dict[str, Fact] = {
        "objects judged": sum(verdict.objects for verdict in verdicts),
        "of them before faults were over": sum(verdict.objects_under_fire for verdict in verdicts),
        "jobs": sum(verdict.jobs for verdict in verdicts),
        "workers": sum(verdict.workers for verdict in verdicts),
        "faults": faults.total(),
        "fewest faults": min((verdict.faults.total() for verdict in verdicts), default=0),
        "campaigns that met too few": len(mild),
    }
    kinds = {f"fault: {name}": count for name, count in sorted(faults.items())}
    failed = [verdict.seed for verdict in verdicts if verdict.failures]
    if failed:
        facts["failed seeds"] = " ".join(map(str, failed))
    return Figure(CLAIM, len(verdicts), len(failed), seed, {**facts, **kinds})


def _line(verdict: Verdict) -> str:
    counts = f"{verdict.faults.total()} faults, {verdict.objects} objects, {verdict.workers} workers"
    return f"seed {verdict.seed}: {counts}, {verdict.seconds:.0f} s"


def main(
    amount: Annotated[int, typer.Argument(help="Campaigns.")],
    seed: Annotated[int | None, typer.Option(help="Seed of the first; without it a new one.")] = None,
    side_by_side: Annotated[int, typer.Option(help="Campaigns at one time.")] = 4,
    results: Annotated[Path, typer.Option(help="File to append to.")] = RESULTS,
) -> None:
    """Run campaigns; ends with 1 where one of them failed."""
    seed = secrets.randbelow(1 << 30) if seed is None else seed
    began, code = time.monotonic(), present_code()
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="campaigns-") as folder, shared_parts(Path(folder)) as parts:
        for verdict in run_all(range(seed, seed + amount), parts, side_by_side=side_by_side):
            verdicts.append(verdict)
            print(f"{len(verdicts)} {_line(verdict)}", *verdict.failures[:10], sep="\n    ", flush=True)
    figure = summed(verdicts, seed)
    seconds = time.monotonic() - began
    print(f"{figure.failures} of {figure.trials} failed in {seconds:.0f} s; {figure.facts}")
    keep(figure, code, command=f"make campaign N={amount} SEED={seed}", seconds=seconds, results=results)
    raise typer.Exit(1 if figure.failures else 0)


if __name__ == "__main__":
    typer.run(main)
