"""Clocks that are a day off, and one that runs half as fast again: is a living owner taken over, a dead one missed?

Each owner's clock meets each observer's. An owner's death cannot be proven, only seen.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from subprocess import Popen

from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.joblist import Joblist
from faults.figure import Figure
from faults.programs import SURROUNDINGS, python, running
from joblist.standing_inputs import make_job
from servers.preloaded import false_clock

CLAIM = "clock skew"
USUAL = 160
TIMES = LeaseTimes(6.0, 2 / 3)
CLOCKS = ("right", "+1d", "-1d", "1.5")
_SIDE_BY_SIDE = 40
_SCAN = 30.0
_LIVES = 2.5  # leases for which the owner lives
_TRIES = 4
_HOLDER = "faults.claim_holder"
Clocks = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """An owner and an observer, each with its clock: `right`, off by a time, or so many times as fast."""

    folder: Path
    owner: str
    observer: str
    lives: float
    program: str


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """`amount` pairs of clocks, each pair as often as any other."""
    pairs = list(product(CLOCKS, CLOCKS))
    random.Random(seed).shuffle(pairs)
    return run(folder, [pairs[number % len(pairs)] for number in range(amount)], seed=seed)


def run(folder: Path, clocks: list[Clocks], *, seed: int, program: str = _HOLDER) -> Figure:
    """`measure` for given pairs of an owner's clock and an observer's, and with another program that observes."""
    choice = random.Random(seed)
    pairs = [
        Pair(folder / f"{number}", *each, (_LIVES + choice.random()) * TIMES.ttl, program)
        for number, each in enumerate(clocks)
    ]
    with ThreadPoolExecutor(min(len(pairs), _SIDE_BY_SIDE)) as pool:
        found = Counter(word for words in pool.map(_tried, pairs) for word in words)
    failures = found["early"] + found["missed"] + found["stalled for good"]
    facts = {"early": found["early"], "missed": found["missed"], "tried again": found["stalled"]}
    return Figure(CLAIM, len(pairs), failures, seed, {**facts, "lease": TIMES.ttl})


def _tried(pair: Pair) -> list[str]:
    """What went wrong; a trial in which the machine itself kept the owner from beating is made again."""
    words: list[str] = []
    for number in range(_TRIES):
        word = _outcome(pair, pair.folder / f"{number}")
        if word != "stalled":
            return [*words, *([word] if word else [])]
        words.append(word)
    return [*words, "stalled for good"]


def _outcome(pair: Pair, folder: Path) -> str:
    folder.mkdir(parents=True)
    make_job(Joblist(folder))
    taken = folder / ".bulkhaul" / "ledger" / "a.000002"
    with _worker(folder, "hold", pair.owner) as owner:
        beats = next((folder / ".bulkhaul" / "heartbeat").iterdir())
        with _worker(folder, "seek", pair.observer, pair.program):
            last, longest = beats.stat().st_mtime, 0.0
            until = time.time() + pair.lives
            while time.time() < until and not taken.exists():
                # The kernel's own clock: no process's.
                present = beats.stat().st_mtime
                longest, last = max(longest, present - last, time.time() - present), present
                time.sleep(0.05)
            if longest > TIMES.ttl / 3:
                return "stalled"
            if taken.exists():
                return "early"
            owner.kill()
            until = time.time() + TIMES.ttl + _SCAN
            while not taken.exists():
                if time.time() > until:
                    return "missed"
                time.sleep(0.05)
    return ""


def _worker(folder: Path, how: str, clock: str, program: str = _HOLDER) -> AbstractContextManager[Popen[str]]:
    """A process with that clock that holds or seeks, once it has said that it does; killed at the end."""
    arguments = (folder, TIMES.ttl, TIMES.heartbeat, how, "elsewhere")
    surroundings = SURROUNDINGS.copy()
    if clock.endswith("d"):
        # A wall clock that is wrong does not change how fast time passes.
        false = {"LD_PRELOAD": str(false_clock()), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        surroundings["env"] = {**surroundings["env"], **false}
    fast = clock[0].isdigit()
    command = python("faults.fast_clock", clock, program, *arguments) if fast else python(program, *arguments)
    return running(command, surroundings, first_line=f"{how}s")
