"""Where everything of a joblist lies; names only, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

STATE_FOLDER = ".bulkhaul"
# With `.manifest.jsonl.gz` and the private name of a write in flight this stays below the usual limit of 255 bytes.
LONGEST_NAME = 200


@dataclass(frozen=True)
class JoblistPaths:
    """The paths of one joblist."""

    folder: Path

    @cached_property
    def state(self) -> Path:
        """The folder of everything that is not for people's editors."""
        return self.folder / STATE_FOLDER

    @cached_property
    def ledger(self) -> Path:
        """The records of all jobs."""
        return self.state / "ledger"

    @property
    def partial(self) -> Path:
        """The partial manifests."""
        return self.state / "partial"

    @property
    def index(self) -> Path:
        """The snapshot of standings: a hint."""
        return self.state / "index"

    @property
    def rates(self) -> Path:
        """A line from each worker that transfers: what it may send, and what it was refused."""
        return self.state / "rates"

    @property
    def scan_lock(self) -> Path:
        """Who holds it refreshes the index."""
        return self.state / "scan.lock"

    @property
    def second_scan_lock(self) -> Path:
        """Who holds it does so although `scan_lock` is held: its holder may be stopped for ever."""
        return self.state / "scan.second.lock"

    def job(self, name: str) -> Path:
        """The job file of `name`."""
        return self.folder / f"{name}.txt"

    def lock(self, name: str) -> Path:
        """The lock of one job."""
        return self.state / "lock" / f"{name}.lock"

    def heartbeat(self, worker: str) -> Path:
        """The heartbeat file of one worker."""
        return self.state / "heartbeat" / worker

    def log(self, worker: str) -> Path:
        """The full log of one worker."""
        return self.state / "log" / f"{worker}.log"

    def folders(self) -> tuple[Path, ...]:
        """The folders below the joblist's own that a worker needs, parents first."""
        below = ("ledger", "lock", "heartbeat", "log", "partial")
        return (self.state, *(self.state / name for name in below))


def is_job_file(filename: str) -> bool:
    """True for a job file's name, False for dot files, editors' litter and everything else."""
    # `x.txt~`, `x.txt.swp` and `#x.txt#` fail by their ends.
    return filename.endswith(".txt") and filename != ".txt" and not filename.startswith((".", "#"))


def name_problem(name: str) -> str | None:
    """Why `name` cannot name a job, or None."""
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if not name or name.startswith((".", "#")) or "/" in name or not name.isprintable():
        return "a job's name is printable, without `/`, and does not begin with `.` or `#`"
    if length > LONGEST_NAME:
        return f"it has {length} bytes, more than {LONGEST_NAME}"
    return None
