"""A worker that tells when each stage of its job began: `staged.py JOBLIST`, a line of JSON each.

A line has the stage, the moment on the monotonic clock, and the CPU seconds of the process and those below it so far.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from measuring import process_tree

import bulkhaul.cli  # noqa: F401 - as in the program, Python's collector seldom runs from here on
from bulkhaul import transfer_joblist
from bulkhaul.assembly import connector, lease_times, target_finder, transfer_options
from bulkhaul.settings import load_settings
from bulkhaul.transfer.terms import Progress

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """User and system seconds of this process and all below it."""
    ticks = 0
    for pid in process_tree(os.getpid()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


class Stages:
    """Tells each stage once."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, progress: Progress) -> None:
        """Tell the stage if it is another one than last time."""
        if progress.stage != self._last:
            self._last = progress.stage
            print(json.dumps([progress.stage, time.monotonic(), cpu_seconds()]))


def main(joblist: Path) -> int:
    settings = load_settings({"joblist": joblist})
    return transfer_joblist(
        joblist,
        lease=lease_times(settings),
        connect=connector(settings),
        target_of=target_finder(settings),
        options=transfer_options(settings),
        show=Stages().show,
    ).exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
