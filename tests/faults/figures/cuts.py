"""Every call of extraction, claim, beat, log, end, scan and retry on the joblist: killed there, or refused there."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from faults.cutting.operations import CUT
from faults.cutting.tracing import CHANGING, Cut, Fault
from faults.cutting.trials import Trial, find_cuts, quick_folder, try_cut
from faults.cutting.zygote import Zygote
from faults.figure import Fact, Figure

CLAIM = "cut points of the joblist's operations that do not recover"
USUAL = 1_000_000
"""More than there are: a full run tries every one."""


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """Try `amount` cut points, chosen at random; all, in their order, where there are no more."""
    with Zygote() as zygote, quick_folder(folder) as quick:
        cuts = [cut for operation in CUT for cut in find_cuts(zygote, operation, quick / "found")]
        points = list(_points(cuts))
        chosen = points if amount >= len(points) else random.Random(seed).sample(points, amount)
        trials = [_told(try_cut(zygote, *point, quick / str(number))) for number, point in enumerate(chosen)]
    facts = _facts(trials)
    facts["cut points in all"] = len(points)
    return Figure(CLAIM, len(trials), sum(bool(trial.wrong) for trial in trials), seed, facts)


def _points(cuts: Iterable[Cut]) -> Iterable[tuple[Cut, Fault]]:
    for cut in cuts:
        for fault in Fault:
            # Gone from a call that only looks on is the same as gone from the next one.
            if fault is not Fault.GONE or cut.call in CHANGING:
                yield cut, fault


def _told(trial: Trial) -> Trial:
    if trial.wrong:
        cut = trial.cut
        print(f"{cut.operation}: {trial.fault} at {cut.call} {cut.number} ({cut.place}): {trial.wrong}", flush=True)
    return trial


def _facts(trials: Iterable[Trial]) -> dict[str, Fact]:
    facts: Counter[str] = Counter()
    for trial in trials:
        facts[f"{trial.cut.operation}: {trial.fault}"] += 1
        facts[f"all: {trial.fault}"] += 1
        if trial.fault is not Fault.KILL:
            told = "failed calls that were told, with 74" if trial.code else "failed calls that were got over"
            facts[told] += 1
        facts["temporary files left"] += trial.left
    return dict(facts)
