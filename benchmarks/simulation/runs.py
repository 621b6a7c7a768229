"""Which runs a simulation consists of, by size."""

from __future__ import annotations

from dataclasses import dataclass

from simulation.campaign import Campaign, Outcome, simulate
from simulation.costs import measured
from simulation.regulators import agreeing, alone
from simulation.uploads import Traffic, upload

SETTLED = 30.0
"""Seconds after which the rate of a prefix is found."""
_SECONDS = 60.0
_SLURM_TELLS = 300.0  # SLURM's default SlurmdTimeout


@dataclass(frozen=True, slots=True)
class Sending:
    """Workers that sent to one prefix, and how they were regulated."""

    workers: int
    regulated: str
    traffic: Traffic


def claims(*, workers: int, jobs: int, seed: int) -> Outcome:
    """Workers that start together on a new joblist whose jobs need no time: how fast claims can be."""
    campaign = Campaign(workers=workers, jobs=max(workers, jobs // 5), seed=seed, files=0, start_seconds=0.0)
    return simulate(campaign, measured())


def joblist(*, workers: int, jobs: int, seed: int) -> Outcome:
    """A joblist from its beginning to its end, with lost and frozen nodes and a time limit."""
    campaign = Campaign(
        workers=workers,
        jobs=jobs,
        seed=seed,
        time_limit=1_800.0,
        lost_nodes=max(1, workers // 200),
        frozen_nodes=max(1, workers // 500),
        slurm_tells=_SLURM_TELLS,
    )
    return simulate(campaign, measured())


def silence(*, workers: int, jobs: int, seed: int) -> Outcome:
    """The same on a tenth of it, where nobody but the heartbeats tells that a node is lost."""
    tenth = max(20, workers // 10)
    campaign = Campaign(
        workers=tenth,
        jobs=max(tenth, jobs // 10),
        seed=seed,
        prefixes=1,
        lost_nodes=max(1, tenth // 40),
        frozen_nodes=1,
    )
    return simulate(campaign, measured())


def sending(*, workers: int, seed: int) -> list[Sending]:
    """One, a few, many and all workers at one prefix, each for itself and in agreement."""
    counts = sorted({1, min(8, workers), min(64, workers), workers})
    return [
        Sending(count, regulated, upload(regulators, seconds=_SECONDS, seed=seed))
        for count in counts
        for regulated, regulators in (("each for itself", alone(count)), ("in agreement", agreeing(count, seed=seed)))
        if count > 1 or regulated == "each for itself"
    ]
