"""One of many workers at a joblist that has nothing to send: `claims.py JOBLIST MOST` prints when it ended each."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import process_gone, this_owner


def main(folder: Path, most: int) -> None:
    joblist = Joblist(folder)
    with joblist.session(this_owner(), offset=random.random(), owner_gone=process_gone) as session:
        while most and (claim := session.claim_next(lambda: None)):
            claim.end(Status.SUCCESS, "nothing to send", facts={})
            print(claim.name, time.monotonic())
            most -= 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
