"""Double claims: 64 processes call the real `claim` on jobs that all of them try, with locks and without."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from math import ceil
from pathlib import Path
from typing import Any

from faults.claim_crowd import TRIES
from faults.figure import Fact, Figure
from faults.programs import SURROUNDINGS, python, quick_folder

CLAIM = "double claims"
USUAL = 1_000_000
PROCESSES = 64


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """At least `amount` attempts, judged by the processes' own accounts and the files of the ledger."""
    return run(folder, amount=amount, seed=seed, program=("faults.claim_crowd",))


def run(folder: Path, *, amount: int, seed: int, program: tuple[str, ...]) -> Figure:
    """`measure` with another program, which may be a broken one."""
    rounds = ceil(amount / PROCESSES / TRIES)
    with quick_folder(folder) as place:
        joblist = place / "joblist"
        command = python(*program, joblist, PROCESSES, rounds * TRIES, seed)
        subprocess.run(command, **SURROUNDINGS, check=True, timeout=3_600)
        faults, facts = judge(joblist, sorted(place.glob("own.*")))
    return Figure(CLAIM, rounds * TRIES * PROCESSES, sum(faults.values()), seed, {**facts, **faults})


def judge(joblist: Path, accounts: list[Path]) -> tuple[Counter[str], dict[str, Fact]]:
    """What is wrong, by kind, and how much was seen; knows the layout of the ledger, and no code of it."""
    ledger = _ledger(joblist / ".bulkhaul" / "ledger")
    owners: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    raced = 0
    for account in accounts:
        pid = int(account.suffix[1:])
        for line in account.read_text().splitlines():
            word, *values = line.split()
            if word == "owns":
                owners[values[0], int(values[1])].append(pid)
            else:
                raced += int(values[0])
    faults: Counter[str] = Counter(double_claims=sum(len(pids) - 1 for pids in owners.values()))
    claims = 0
    for job, records in ledger.items():
        numbers = sorted(records)
        faults["gaps"] += numbers != list(range(1, len(numbers) + 1))
        for number in numbers:
            record = records[number]
            if record["kind"] == "claim":
                claims += 1
                known = owners.pop((job, number), []) == [record["owner"]["pid"]]
                # Whoever was taken for dead before it could show its claim has let go of it.
                faults["claims_of_nobody"] += not known and number + 1 not in records
            else:
                faults["ends_by_others"] += record["owner"] != records[number - 1]["owner"]
    faults["claims_without_record"] = len(owners)
    return faults, {"processes": len(accounts), "jobs": len(ledger), "claims": claims, "links_that_lost": raced}


def _ledger(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    ledger: defaultdict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in folder.iterdir():
        job, _, number = path.name.rpartition(".")
        if not path.name.startswith("."):
            ledger[job][int(number)] = json.loads(path.read_bytes())
    return ledger
