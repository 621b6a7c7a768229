"""A real worker that holds a job for ever, or one that takes what it can get and tells so.

Arguments: folder, lease and heartbeat in seconds, `hold` or `seek`, `here` (its death can be proven) or `elsewhere`.
A holder says `holds`, then works on; a seeker says `seeks`, then `took <generation>`, and holds that in turn.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import go_on


def main() -> None:
    folder, ttl, beat, how, where = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5]
    owner = this_owner()
    if where == "elsewhere":
        owner = replace(owner, boot_id="another")
    with Joblist(folder, lease_ttl=ttl, heartbeat=beat).session(owner) as session:
        if how == "seek":
            print("seeks", flush=True)
        while (claim := session.claim_next(go_on)) is None:
            time.sleep(min(0.5, beat / 2))  # then the next task of an array begins
        print("holds" if how == "hold" else f"took {claim.generation}", flush=True)
        _work_on(claim)


def _work_on(claim: Claim) -> None:
    for number in count():
        claim.check()
        claim.progress(files=number, bytes=0, last=f"file {number}")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
