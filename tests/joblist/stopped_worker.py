"""A worker that is stopped with SIGSTOP while it owns a job. Arguments: folder, file that counts what it sent, how."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bulkhaul.errors import ClaimLost
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import SHORT, go_on


def main() -> None:
    folder, sent, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    with Joblist(folder, **SHORT).session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        print("claimed", flush=True)
        try:
            while True:
                if how == "send":
                    claim.check()
                    with sent.open("a") as file:
                        file.write("x")
                    time.sleep(0.005)
                    continue
                sys.stdin.readline()
                if how == "log":
                    claim.log("still here")
                else:
                    claim.end(Status.ERROR, "from the grave", facts={})
        except ClaimLost:
            print("lost", flush=True)


if __name__ == "__main__":
    main()
