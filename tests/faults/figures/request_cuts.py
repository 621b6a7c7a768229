"""Every request of a transfer, by either engine: the worker is killed before it is done, or before its answer."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from e2e.lab import ENGINES
from faults.figure import Fact, Figure
from faults.request_trials import Cut, When, find_requests, site, try_cut
from servers.seaweed import Seaweed

CLAIM = "requests of a transfer at which a killed worker leaves what does not recover"
USUAL = 1_000_000
"""More than there are: a full run tries every one."""


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """Try `amount` cut points, chosen at random; all, in their order, where there are no more."""
    place = folder / "site"
    place.mkdir()
    with Seaweed(folder / "server") as server:
        return measure_on(server, place, amount=amount, seed=seed)


def measure_on(server: Seaweed, folder: Path, *, amount: int, seed: int) -> Figure:
    """The same on a server that runs."""
    facts: Counter[str] = Counter()
    failures = 0
    with site(server, folder) as lab_site:
        points = [cut for engine in ENGINES for cut in _cuts(engine, find_requests(lab_site, engine))]
        chosen = points if amount >= len(points) else random.Random(seed).sample(points, amount)
        for number, cut in enumerate(chosen):
            found = try_cut(lab_site, cut, f"{number}")
            if found:
                failures += 1
                print(f"{cut}: {found}", flush=True)
            facts[f"{cut.engine}: {cut.when}"] += 1
            facts[f"at {cut.name.partition(' ')[0]}"] += 1
    told: dict[str, Fact] = {**facts, "cut points in all": len(points)}
    return Figure(CLAIM, len(chosen), failures, seed, told)


def _cuts(engine: str, requests: Counter[str]) -> list[Cut]:
    return [
        Cut(engine, name, number + 1, when)
        for name, count in sorted(requests.items())
        for number in range(count)
        for when in When
    ]
