"""One of many real workers: claims, marks each job as occupied, counts what it ended.

Arguments: folder, scratch folder, `locks` or `no-locks`, `prove` (asks for gone processes) or `watch` (only waits).
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from bulkhaul.joblist.job import Owner, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import process_gone, this_owner
from bulkhaul.joblist.locks import file_lock
from joblist.standing_inputs import go_on, no_lock

TIMES = {"lease_ttl": 2.0, "heartbeat": 0.3}


def nobody_gone(_owner: Owner) -> bool:
    return False


def occupy(mark: Path, scratch: Path, owner: Owner) -> None:
    """Mark the job as mine; it is a violation if a living process has done so."""
    me = f"{owner.pid} {owner.pid_start}"
    try:
        # A link to nowhere: made with its content in one step, so a kill leaves no mark without a name.
        mark.symlink_to(me)
    except FileExistsError:
        pid, start = map(int, str(mark.readlink()).split())
        if not gone(pid, start, owner):
            (scratch / f"violation.{mark.name}.{pid}.{os.getpid()}").touch()
        mark.unlink()
        mark.symlink_to(me)


def gone(pid: int, start: int, owner: Owner) -> bool:
    return process_gone(Owner("", "", owner.host, owner.boot_id, owner.pid_namespace, pid, start))


def main() -> None:
    folder, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    lock = file_lock if sys.argv[3] == "locks" else no_lock
    owner = this_owner()
    joblist = Joblist(folder, **TIMES, lock=lock)
    session = joblist.session(
        owner, offset=random.random(), owner_gone=process_gone if sys.argv[4] == "prove" else nobody_gone
    )
    print("ready", flush=True)
    with session:
        while claim := session.claim_next(go_on):
            mark = scratch / "marks" / claim.name
            occupy(mark, scratch, owner)
            for part in range(5):
                claim.check()
                claim.progress(files=part + 1, bytes=0, last=f"part {part}")
                time.sleep(random.uniform(0, 0.1))
            mark.unlink()
            claim.end(Status.SUCCESS, "all", facts={"worker": owner.worker})
            with (scratch / "ended").open("a") as ended:
                ended.write(f"{claim.name}\n")


if __name__ == "__main__":
    main()
