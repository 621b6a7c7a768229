"""Time from the death of a worker to the next claim of its job: on the same machine, and of a silent node."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from subprocess import Popen

from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.joblist import Joblist
from faults.figure import Fact, Figure
from faults.programs import SURROUNDINGS, python, running
from joblist.standing_inputs import make_job

CLAIM = "reclaim of a dead worker"
USUAL = 100
_SIDE_BY_SIDE = 100
_SAME_HOST = 5.0
_SCAN = 30.0
"""Seconds: what the table asks of the same machine; what lies between two scans."""


@dataclass(frozen=True, slots=True)
class Death:
    """One owner that is killed `after` seconds beside a worker that waits; `where` it seems to run."""

    folder: Path
    where: str
    after: float
    times: LeaseTimes

    @property
    def bound(self) -> float:
        return _SAME_HOST if self.where == "here" else self.times.ttl + _SCAN


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """Half of the deaths can be proven, half are told by silence alone; all with the usual lease and heartbeat."""
    return run(folder, amount=amount, seed=seed, times=LeaseTimes())


def run(folder: Path, *, amount: int, seed: int, times: LeaseTimes, seeker: str = "faults.claim_holder") -> Figure:
    """`measure` with another lease, and with another program that waits."""
    choice = random.Random(seed)
    deaths = [
        # A worker that waits goes through all that it does within a heartbeat and a look.
        Death(folder / f"{number}", ("here", "elsewhere")[number % 2], choice.uniform(0, 1.5 * times.heartbeat), times)
        for number in range(amount)
    ]
    with ThreadPoolExecutor(min(amount, _SIDE_BY_SIDE)) as pool:
        taken = list(pool.map(lambda death: _seconds(death, seeker), deaths))
    late = sum(seconds is None or seconds > death.bound for death, seconds in zip(deaths, taken, strict=True))
    facts: dict[str, Fact] = {"lease": times.ttl, "heartbeat": times.heartbeat}
    for where, name in (("here", "same host"), ("elsewhere", "silent node")):
        waits = sorted(
            death.bound * 10 if seconds is None else seconds
            for death, seconds in zip(deaths, taken, strict=True)
            if death.where == where
        )
        facts |= {f"{name} p{part}, s": round(waits[ceil(part / 100 * len(waits)) - 1], 2) for part in (50, 100)}
    return Figure(CLAIM, amount, late, seed, facts)


def _seconds(death: Death, seeker: str) -> float | None:
    """Seconds from the kill to the next claim; None where that came before it, or not within twice the bound."""
    death.folder.mkdir(parents=True)
    make_job(Joblist(death.folder))
    with worker(death, "hold") as owner, worker(death, "seek", seeker) as other:
        time.sleep(death.after)
        taken = death.folder / ".bulkhaul" / "ledger" / "a.000002"
        if taken.exists():
            return None  # from a living owner, who ends as soon as it sees that
        assert owner.poll() is None
        owner.kill()
        killed = time.monotonic()
        while not taken.exists():
            if time.monotonic() > killed + 2 * death.bound or other.poll() is not None:
                return None
            time.sleep(0.02)
        return time.monotonic() - killed


def worker(death: Death, how: str, module: str = "faults.claim_holder") -> AbstractContextManager[Popen[str]]:
    """A process that holds or seeks, once it has said that it does; killed at the end."""
    command = python(module, death.folder, death.times.ttl, death.times.heartbeat, how, death.where)
    return running(command, SURROUNDINGS, first_line=f"{how}s")
