"""A worker of a trial: it takes a second try after a failed one, and tells what it believes to have."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from bulkhaul.errors import ClaimLost, StorageError
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.job import Owner, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import End
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.session import Session
from bulkhaul.messages import Mark
from joblist.standing_inputs import go_on

_Result = TypeVar("_Result")
STORAGE_FAILED = StorageError.exit_code


def joblist_of(folder: Path) -> Joblist:
    """The joblist of a trial; nobody beats by himself within one."""
    return Joblist(folder / "joblist", lease_ttl=60, heartbeat=20, create=True)


class Worker:
    """A worker at one session that takes a second try after a failed one, as the next worker would."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.code = 0

    def claim(self) -> Claim | None:
        """The next job; what came of it is told."""
        claim = self._repeated(lambda: self.session.claim_next(go_on))
        if claim is not None:
            _believe("claim", claim.name, claim.generation)
        return claim

    def log(self, claim: Claim) -> None:
        """One line into the job file."""
        self._repeated(lambda: claim.log("12000/48211 files"))
        claim.check()

    def beat(self, claim: Claim) -> None:
        """One beat, as the beating thread makes it."""
        self._repeated(self.session._heartbeat.renew)
        claim.check()

    def end(self, claim: Claim, end: End) -> None:
        """End the claim; where that fails it is given back and claimed again, as in `attempt` and its next worker."""
        try:
            end_claim(claim, end)
        except StorageError as error:
            self._surfaced(error)
            with suppress(StorageError, ClaimLost):
                claim.release("given back")
            again = self.claim()
            if again is not None:
                end_claim(again, end)

    def _repeated(self, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except StorageError as error:
            self._surfaced(error)
            return call()

    def _surfaced(self, error: StorageError) -> None:
        say_error(error)
        self.code = STORAGE_FAILED


def say_error(error: StorageError) -> None:
    """The line that a person reads."""
    print(f"{Mark.FAILED} {error}", file=sys.stderr, flush=True)


def end_claim(claim: Claim, end: End) -> None:
    """End the claim, and tell so."""
    if end is End.RELEASED:
        claim.release("time limit")
    else:
        claim.end(Status(end), "all", facts={"files": 1})
    _believe("end", claim.name, claim.generation + 1)


def _believe(kind: str, job: str, generation: int) -> None:
    print(json.dumps({"kind": kind, "job": job, "generation": generation}), flush=True)


@contextmanager
def worker_at(folder: Path, owner: Owner | None = None) -> Iterator[Worker]:
    """A worker at the joblist of a trial; this process, or as if it were another's."""
    with joblist_of(folder).session(owner or this_owner()) as session:
        yield Worker(session)


def claimed(worker: Worker) -> Claim:
    """The next job, of which nothing is told: it belongs to what an operation needs."""
    claim = worker.session.claim_next(go_on)
    assert claim is not None
    return claim
