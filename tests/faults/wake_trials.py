"""Stop a worker before one of its calls, let another take over, wake it: some trials, one after the other.

Arguments: folder, random seed, number of wakes, and perhaps a call: then it stops before the second of these alone.
For each wake one line of JSON on standard output.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bulkhaul.errors import ClaimLost
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import new_record, publish
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.session import Session
from faults.sleeper import DEAD_HOST, ENDS, STARTS, TIMES, Account, Life, finish, live
from faults.wake_judge import newest_number, problems
from joblist.standing_inputs import go_on, make_job, nobody_gone, write_ledger

_LONGEST = 90.0
_CALLS = 260  # of the longest life, beats among them


def main() -> None:
    folder, choice, left = Path(sys.argv[1]), random.Random(int(sys.argv[2])), int(sys.argv[3])
    number = 0
    while left:
        number += 1
        life = Life(choice.choice(STARTS), choice.choice(ENDS), choice.randint(1, _CALLS))
        if sys.argv[4:]:
            life = replace(life, stop_at=2, call=sys.argv[4])
        found = trial(folder / f"{number}", life, choice)
        if found is not None:
            left -= 1
            print(json.dumps({**asdict(life), **found}), flush=True)


def trial(place: Path, life: Life, choice: random.Random) -> dict[str, Any] | None:
    """One wake, judged; None for a life that was over before it came to stop."""
    joblist = prepare(place, life.start)
    account = place / "sleeper"
    pid = os.fork()
    if not pid:
        live(joblist.folder, account, life)
    try:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            assert os.WEXITSTATUS(status) == 0, life
            return None
        slept = time.monotonic()
        rescue = Account(place / "rescuer")
        held_at_wake = choice.random() < 0.5
        end = choice.choice(ENDS)
        found: list[str] = []
        with joblist.session(this_owner(), owner_gone=nobody_gone) as session:
            claim = _claim(session, joblist)
            if claim is not None:
                rescue.note("owns", claim.generation)
            if claim is not None and not held_at_wake:
                _end(claim, end, rescue)
            time.sleep(max(0.0, slept + 1.2 * TIMES["lease_ttl"] - time.monotonic()))
            number = newest_number(joblist.folder)
            woken = time.monotonic()
            found += _wake(pid)
            joblist.scan()
            found += problems(joblist.folder, [account, place / "rescuer"], woken=woken, number_then=number)
            if claim is not None and held_at_wake:
                _end(claim, end, rescue)
                joblist.scan()
                found += problems(joblist.folder, [account, place / "rescuer"], woken=woken, number_then=number)
        return {"rescued": claim is not None, "held": held_at_wake, "rescuer_end": end, "problems": found}
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def prepare(place: Path, start: str) -> Joblist:
    """A joblist of one job, as `Life.start` says."""
    folder = place / "joblist"
    folder.mkdir(parents=True)
    joblist = Joblist(folder, **TIMES)
    make_job(joblist, word="ongoing" if start == "dead" else "todo")
    write_ledger(joblist, {"todo": "empty", "dead": "empty", "again": "error"}.get(start, start))
    if start == "dead":
        assert publish(joblist.state_path("ledger"), new_record("a", 1, replace(this_owner(), host=DEAD_HOST)))
    return joblist


def _claim(session: Session, joblist: Joblist) -> Claim | None:
    """The job, taken over as any worker would; None when it was ended before its owner stopped."""
    until = time.monotonic() + _LONGEST
    while (claim := session.claim_next(go_on)) is None and session.jobs_in_doubt():
        assert time.monotonic() < until, "nobody could take the job over"
    return claim


def _end(claim: Claim, end: str, account: Account) -> None:
    try:
        claim.check()
        finish(claim, end)
        account.note("ended", claim.generation)
    except ClaimLost:
        account.note("lost", claim.generation)  # the sleeper may judge it in turn, where the machine stands still


def _wake(pid: int) -> list[str]:
    os.kill(pid, signal.SIGCONT)
    until = time.monotonic() + _LONGEST
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return [] if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else ["the sleeper failed"]
        time.sleep(0.01)
    return ["the sleeper hangs"]


if __name__ == "__main__":
    main()
