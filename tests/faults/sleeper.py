"""A real worker that stops itself (SIGSTOP) before one of its calls to the file system, and wakes when it is told to.

Run in a child that was forked: `live` never returns. What it did goes line by line, each in one write, to the file
`account`: `stopped`, `owns <number>`, `sent <number> <seconds>`, `ended <number>`, `lost`.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bulkhaul.errors import ClaimLost
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.job import Owner, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from gated_calls import gated_calls
from joblist.standing_inputs import go_on

ENDS = ("success", "error", "released")
STARTS = ("todo", "dead", "released", "again")
TIMES = {"lease_ttl": 0.9, "heartbeat": 0.1}
DEAD_HOST = "lost"


@dataclass(frozen=True, slots=True)
class Life:
    """How the job stood before (`start`), how its claim ends, and before which call (of a kind) the worker stops."""

    start: str
    end: str
    stop_at: int
    call: str = ""


class Account:
    """Lines that are there as soon as they are written, whatever happens to the writer."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._write = os.write

    def note(self, *words: object) -> None:
        self._write(self._fd, (" ".join(map(str, words)) + "\n").encode())


def live(folder: Path, account_path: Path, life: Life) -> None:
    """The whole life of one worker; ends the process with 0, or 1 for anything that may not happen."""
    account = Account(account_path)
    mutex = threading.Lock()
    calls = 0

    def stop(call: str, _path: str) -> None:
        nonlocal calls
        if life.call not in ("", call):
            return
        with mutex:
            calls += 1
            stops = calls == life.stop_at
        if stops:
            account.note("stopped")
            os.kill(os.getpid(), signal.SIGSTOP)

    try:
        with gated_calls(folder, stop):
            _work(folder, account, life)
        os._exit(0)
    finally:
        os._exit(1)


def _work(folder: Path, account: Account, life: Life) -> None:
    with Joblist(folder, **TIMES).session(this_owner(), owner_gone=_lost) as session:
        claim = session.claim_next(go_on)
        if claim is None:
            return
        account.note("owns", claim.generation)
        try:
            _transfer(claim, account)
            finish(claim, life.end)
            account.note("ended", claim.generation)
        except ClaimLost:
            account.note("lost", claim.generation)


def _lost(owner: Owner) -> bool:
    return owner.host == DEAD_HOST


def _transfer(claim: Claim, account: Account) -> None:
    for number in range(4):
        claim.check()
        account.note("sent", claim.generation, time.monotonic())
        claim.progress(files=number, bytes=0, last=f"file {number}")
        # Beats fall in between, before a call or after it.
        time.sleep(random.uniform(0.0, 1.5 * TIMES["heartbeat"]))
    claim.log("4/4 files")
    claim.check()
    account.note("sent", claim.generation, time.monotonic())


def finish(claim: Claim, end: str) -> None:
    """End `claim` in one of `ENDS`."""
    if end == "released":
        claim.release("time limit")
    else:
        claim.end(Status(end), "all", facts={})
