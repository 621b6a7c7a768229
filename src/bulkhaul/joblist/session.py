"""A worker at a joblist: find a job, claim it, keep it alive; wait for owners that may be dead before going home."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from bulkhaul.errors import UsageError
from bulkhaul.fsio import storage_errors
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.claiming import Claimer
from bulkhaul.joblist.finder import Finder
from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes
from bulkhaul.joblist.index import Row
from bulkhaul.joblist.job import Gate, Owner, Standing, Status
from bulkhaul.joblist.ledger import End, newest_record
from bulkhaul.joblist.liveness import Observer, Sign
from bulkhaul.joblist.locks import Lock
from bulkhaul.joblist.paths import JoblistPaths

_SLICE = 0.5


class Session:
    """A context manager that beats while it is open and claims one job at a time.

    Leaving it removes the heartbeat file, unless a claim was left without an end.

    Raises:
        UsageError: `offset` is not in [0, 1).
        StorageError: on entering, when the first heartbeat fails.
    """

    def __init__(
        self,
        paths: JoblistPaths,
        owner: Owner,
        *,
        times: LeaseTimes,
        offset: float,
        owner_gone: Callable[[Owner], bool],
        lock: Lock,
    ) -> None:
        if not 0 <= offset < 1:
            raise UsageError(f"offset {offset:g}", "it is not in [0, 1)", "divide the array index by the array's size")
        self._paths = paths
        self._times = times
        self._heartbeat = Heartbeat(paths.heartbeat(owner.worker), times)
        observer = Observer(paths, times.ttl, owner_gone)
        self._claimer = Claimer(paths, owner, lock=lock, heartbeat=self._heartbeat, observer=observer)
        self._finder = Finder(paths, lock=lock, dead=self._claimer.dead, offset=offset, patience=times.ttl)
        self._doubtful: list[str] = []
        self._seen: tuple[Row, ...] = ()

    def __enter__(self) -> Session:
        for folder in self._paths.folders():
            with storage_errors(folder):
                folder.mkdir(exist_ok=True)
        self._heartbeat.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._heartbeat.stop(remove=not self._claimer.holding)

    def claim_next(self, gate: Gate) -> Claim | None:
        """Claim a job; None only after a fresh scan found none and owners that may be dead were waited for.

        Looks into the index first; only what that no longer offers costs a scan. Waits little more than one lease;
        `gate` is called meanwhile, at least once a second. A claim still open from before counts as given up.

        Raises:
            StorageError: the joblist's storage failed; nothing is claimed.
            Whatever `gate` raises.
        """
        self._claimer.give_up()
        self._doubtful = []
        gate()
        self._finder.update(gate)
        claim, _ = self._claim_todo(gate)
        return claim or self._claim_last(gate)

    def jobs_in_doubt(self) -> list[str]:
        """The jobs that were `ongoing` when `claim_next` ended, with an owner neither seen alive nor found dead."""
        return list(self._doubtful)

    def jobs_given_up(self) -> list[tuple[str, str]]:
        """The jobs that this session ended as `error` instead of claiming them once more, with the reason."""
        return list(self._claimer.given_up)

    def jobs_nobody_claims(self, standing: Standing) -> list[str]:
        """The jobs that the last full scan found `INVALID` or `UNPROVEN`: they wait for a person."""
        return [row.name for row in self._seen if row.standing is standing]

    def jobs_in_error(self) -> list[str]:
        """The jobs that the last full scan found in `error`: they wait for a person too."""
        return [row.name for row in self._seen if row.status is Status.ERROR]

    def _claim_todo(self, gate: Gate) -> tuple[Claim | None, list[str]]:
        """A free job, or the names of those that somebody else was faster at."""
        missed = []
        while (name := self._finder.next_todo()) is not None:
            gate()
            if claim := self._claimer.claim(name):
                return claim, []
            missed.append(name)
        return None, missed

    def _claim_last(self, gate: Gate) -> Claim | None:
        until = float("inf")
        while True:
            began = time.monotonic()
            rows = self._seen = self._finder.fresh_index(gate).rows
            claim, missed = self._claim_todo(gate)
            if claim is not None:
                return claim
            now = time.monotonic()
            # A lease plus a scan, and the time to see the beat of whoever takes over before we do.
            until = min(until, now + 1.25 * self._times.ttl + (now - began))
            held = _held(rows, missed)
            if not self._watch(held, gate, until=until):
                return None
            for name in self._doubtful:
                gate()
                if claim := self._claimer.claim(name):
                    self._doubtful = []
                    return claim
            self._pause(gate)

    def _watch(self, held: dict[str, int], gate: Gate, *, until: float) -> bool:
        """Look at the owners of the jobs `held` until each is known alive; True: some job is there for the taking.

        Then, or when time is over, `_doubtful` holds the jobs that are left.
        """
        while True:
            signs = {name: self._sign(name, generation) for name, generation in held.items()}
            held = {name: generation for name, generation in held.items() if signs[name] is not Sign.ALIVE}
            self._doubtful = list(held)
            if not held or time.monotonic() > until:
                return False
            if dead := [name for name in held if signs[name] is Sign.DEAD]:
                self._doubtful = dead
                return True
            self._pause(gate)

    def _sign(self, name: str, generation: int) -> Sign:
        record = newest_record(self._paths.ledger, name, hint=generation)
        if record is None or record.end is End.RELEASED:
            return Sign.DEAD  # nobody holds it any more
        if record.end is not None:
            return Sign.ALIVE  # settled: nothing to wait for
        return self._claimer.sign(record.owner)

    def _pause(self, gate: Gate) -> None:
        until = time.monotonic() + min(self._times.ttl / 8, self._times.heartbeat / 2)
        while (left := until - time.monotonic()) > 0:
            gate()
            time.sleep(min(left, _SLICE))


def _held(rows: tuple[Row, ...], missed: list[str]) -> dict[str, int]:
    """The jobs that somebody else may hold, with the last generation known."""
    names = set(missed)
    return {
        row.name: row.generation
        for row in rows
        if row.standing in (Standing.OWNED, Standing.EXPIRED) or row.name in names
    }
