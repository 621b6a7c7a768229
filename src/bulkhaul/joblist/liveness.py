"""Is an owner dead? Proven by its process, or observed as silence over a whole lease; no two clocks are compared."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bulkhaul.joblist.heartbeat import LeaseTimes, read_heartbeat
from bulkhaul.joblist.job import Owner, SlurmTask
from bulkhaul.joblist.paths import JoblistPaths

_LEAST_READS = 4
_PROLONGED = 3  # times that the wait of the last worker is made longer


class Sign(StrEnum):
    """What is known of an owner."""

    ALIVE = "seen alive"
    SILENT = "not known"
    DEAD = "dead"


def this_owner(slurm: SlurmTask | None = None) -> Owner:
    """This process as an owner of claims, with a new token and a worker name that no other will ever have."""
    host = socket.gethostname()
    token = secrets.token_hex(8)
    short = "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in host.partition(".")[0])
    return Owner(
        worker=f"{short[:40]}-{os.getpid()}-{token[:8]}",
        token=token,
        host=host,
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        pid_start=_process(os.getpid())[0] or 0,
        slurm=slurm,
    )


def process_gone(owner: Owner) -> bool:
    """True when `owner` ran on this very machine and boot, and its process is gone; False proves nothing."""
    here = (socket.gethostname(), _boot_id(), _pid_namespace())
    if not all(here) or here != (owner.host, owner.boot_id, owner.pid_namespace):
        return False
    start, ended = _process(owner.pid)
    if start is not None:
        return ended or start != owner.pid_start
    # A /proc that hides other users' processes looks the same as no process; a signal of 0 tells them apart.
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _process(pid: int) -> tuple[int | None, bool]:
    """(start time in clock ticks since boot, whether it only waits to be reaped); (None, False): nothing to see."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None, False
    # The second field is the program's name in brackets and may hold anything.
    fields = text.rpartition(")")[2].split()
    state, threads, start = fields[0], int(fields[17]), int(fields[19])
    return start, state in "ZX" and threads <= 1


@dataclass(slots=True)
class _Watch:
    """What one worker's file held, since when, and how often that was seen; times on the observer's clock."""

    seen: bytes
    since: float
    last_look: float
    reads: int = 1
    changed_at: float = float("-inf")
    dead: bool = False


class Silences:
    """What looks at heartbeats tell (pure): dead is who was silent over a whole lease (`ttl`, seconds).

    That is, its file was the same in at least four reads, none of them late: after a gap of more than a third of the
    lease the window starts anew, since it was perhaps the file system that stood still, or this process. Who was found
    dead stays so, however late the next look, until the file changes.
    """

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._watches: dict[str, _Watch] = {}

    def note(self, worker: str, content: bytes, now: float) -> None:
        """Note what the heartbeat of `worker` held at `now` (seconds of the caller's clock)."""
        watch = self._watches.get(worker)
        if watch is None or (self._late(watch, now) and not (watch.dead and watch.seen == content)):
            self._watches[worker] = _Watch(content, now, now)
        elif watch.seen != content:
            self._watches[worker] = _Watch(content, now, now, changed_at=now)
        else:
            watch.reads += 1
            watch.last_look = now
            watch.dead = now - watch.since >= self._ttl and watch.reads >= _LEAST_READS

    def sign(self, worker: str, now: float) -> Sign:
        """What the looks so far say of `worker`."""
        watch = self._watches.get(worker)
        if watch is None:
            return Sign.SILENT
        if watch.dead:
            return Sign.DEAD
        # A lease holds three beats at least: who missed one may be dead, and has to be watched, not believed in.
        if now - watch.changed_at < self._ttl / 3:
            return Sign.ALIVE
        return Sign.SILENT

    def _late(self, watch: _Watch, now: float) -> bool:
        return now - watch.last_look > self._ttl / 3


@dataclass(slots=True)
class LastWait:
    """How long the last worker waits for owners that may be dead; times in seconds of its clock."""

    times: LeaseTimes
    until: float = float("inf")
    last_round: float | None = None
    _left: int = _PROLONGED

    def begin(self, now: float, scan_seconds: float) -> None:
        """Looks begin at `now`, after a scan."""
        # A lease plus a scan, and the time to see the beat of whoever takes over before we do.
        self.until = min(self.until, now + 1.25 * self.times.ttl + scan_seconds)
        # Who lost the race for one job looks at the others' owners for long enough to see them beat.
        self._prolong(now + 3 * self.times.heartbeat)
        if self.last_round is None:
            self.last_round = now

    def over(self, now: float) -> bool:
        """Whether no more looks follow the round that ended at `now`."""
        # The file system or this process stood still: the observation of each owner begins anew, so does the wait.
        if self.last_round is not None and now - self.last_round > self.times.ttl / 4:
            self._prolong(now + 1.25 * self.times.ttl)
        self.last_round = now
        return now > self.until

    def _prolong(self, until: float) -> None:
        if until > self.until and self._left:
            self.until, self._left = until, self._left - 1


class Observer:
    """Judges owners by what it has seen itself: `Silences`, and the proof that `owner_gone` may have."""

    def __init__(
        self,
        paths: JoblistPaths,
        ttl: float,
        owner_gone: Callable[[Owner], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = paths
        self._owner_gone = owner_gone
        self._clock = clock
        self._silences = Silences(ttl)
        self._proven: set[str] = set()

    def look(self, owner: Owner) -> Sign:
        """Read the heartbeat of `owner` once and judge.

        Raises:
            StorageError: the heartbeat cannot be read; nothing is concluded.
        """
        if owner.worker in self._proven or self._owner_gone(owner):
            self._proven.add(owner.worker)
            return Sign.DEAD
        content = read_heartbeat(self._paths.heartbeat(owner.worker))
        now = self._clock()
        self._silences.note(owner.worker, content, now)
        return self._silences.sign(owner.worker, now)
