"""Stale commits: a worker is stopped beyond its lease before any of its calls, another takes over, the first wakes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from faults.figure import Fact, Figure
from faults.programs import SURROUNDINGS, python, quick_folder

CLAIM = "stale commits after SIGSTOP"
USUAL = 1_000
_SIDE_BY_SIDE = 40


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """`amount` wakes, many side by side; a failure is a wake after which anything is not as it must be."""
    return run(folder, amount=amount, seed=seed, program=("faults.wake_trials",))


def run(folder: Path, *, amount: int, seed: int, program: tuple[str, ...], call: tuple[str, ...] = ()) -> Figure:
    """`measure` with another program, which may be a broken one, stopping before one kind of `call` alone."""
    choice = random.Random(seed)
    with quick_folder(folder) as place:
        shares = [share for share in _shares(amount, max(1, min(_SIDE_BY_SIDE, amount // 3))) if share]
        running = [
            subprocess.Popen(
                python(*program, place / f"{number}", choice.randrange(1 << 31), share, *call),
                **SURROUNDINGS,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            for number, share in enumerate(shares)
        ]
        try:
            outputs = [each.communicate(timeout=3_600)[0] for each in running]
        finally:
            for each in running:
                if each.poll() is None:
                    os.killpg(each.pid, signal.SIGKILL)  # its sleeper too
                    each.communicate()
    assert all(each.returncode == 0 for each in running), "a trial failed in itself"
    wakes = [json.loads(line) for output in outputs for line in output.splitlines()]
    return Figure(CLAIM, len(wakes), sum(bool(wake["problems"]) for wake in wakes), seed, _facts(wakes))


def _shares(amount: int, parts: int) -> list[int]:
    return [amount // parts + (part < amount % parts) for part in range(parts)]


def _facts(wakes: list[dict[str, Any]]) -> dict[str, Fact]:
    problems = Counter(problem for wake in wakes for problem in set(wake["problems"]))
    for wake in wakes:
        if wake["problems"]:
            print(wake, flush=True)
    return {
        "taken_over": sum(wake["rescued"] for wake in wakes),
        "steps": len({(wake["start"], wake["end"], wake["stop_at"]) for wake in wakes}),
        "first_lines_wrong": sum(number for text, number in problems.items() if text.startswith("line 1")),
        "stale_commits": problems["stale commit"],
        "stale_sends": problems["stale send"],
    }
