"""A worker at a joblist: find a job, claim it, keep it alive; wait for owners that may be dead before going home."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from bulkhaul.errors import UsageError
from bulkhaul.fsio import make_folder
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.claiming import Claimer
from bulkhaul.joblist.finder import Finder
from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes
from bulkhaul.joblist.index import Offer
from bulkhaul.joblist.job import Gate, Owner, Standing, Status
from bulkhaul.joblist.ledger import has_record, newest_numbers, newest_record
from bulkhaul.joblist.liveness import Observer, Sign
from bulkhaul.joblist.locks import Lock
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.seeking import Look, Names, Numbers, Pause, Refresh, Reread, Seeker, Sighting, Step, Try
from bulkhaul.joblist.succession import holder, is_open
from bulkhaul.joblist.views import job_names

_SLICE = 0.5
Answer = Sighting | list[Offer] | dict[str, int] | Sign | None


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
        self._owner_gone = owner_gone
        self._looked_at: list[Owner] = []
        self._heartbeat = Heartbeat(paths.heartbeat(owner.worker), times)
        observer = Observer(paths, times.ttl, owner_gone)
        self._claimer = Claimer(paths, owner, lock=lock, heartbeat=self._heartbeat, observer=observer)
        self._finder = Finder(paths, lock=lock, dead=self._claimer.dead)
        self._seeker = Seeker(times, offset=offset, clock=time.monotonic)

    def __enter__(self) -> Session:
        for folder in self._paths.folders():
            make_folder(folder, above=False)
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
        steps = self._seeker.steps()
        claim: Claim | None = None
        answer: Answer | bool = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return claim
            gate()
            if isinstance(step, Try):
                claim = None if self._is_taken(step) else self._claimer.claim(step.name)
                answer = claim is not None
            else:
                answer = self._make(step, gate)

    def _make(self, step: Step, gate: Gate) -> Answer:
        match step:
            case Reread():
                return self._finder.reread(step.known)
            case Refresh():
                return self._finder.refresh(step.known, gate, force=step.force, alone=step.alone)
            case Names():
                return [Offer(name) for name in job_names(self._paths)]
            case Numbers():
                return newest_numbers(self._paths.ledger)
            case Look():
                return self._sign(step.name, step.generation)
            case Pause():
                self._pause(step.seconds, gate)
        return None

    def _pause(self, seconds: float, gate: Gate) -> None:
        """Wait, but not on when an owner that was just looked at is gone: to ask that costs the joblist nothing."""
        owners, self._looked_at = self._looked_at, []
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            gate()
            time.sleep(min(left, _SLICE))
            if any(map(self._owner_gone, owners)):
                return

    def jobs_in_doubt(self) -> list[str]:
        """The jobs that were `ongoing` when `claim_next` ended, with an owner neither seen alive nor found dead."""
        return list(self._seeker.doubtful)

    def jobs_given_up(self) -> list[tuple[str, str]]:
        """The jobs that this session ended as `error` instead of claiming them once more, with the reason."""
        return list(self._claimer.given_up)

    def jobs_nobody_claims(self, standing: Standing) -> list[str]:
        """The jobs that the last full scan found `INVALID` or `UNPROVEN`: they wait for a person."""
        return [row.name for row in self._seeker.seen if row.standing is standing]

    def jobs_in_error(self) -> list[str]:
        """The jobs that the last full scan found in `error`: they wait for a person too."""
        return [row.name for row in self._seeker.seen if row.status is Status.ERROR]

    def _is_taken(self, step: Try) -> bool:
        """By one look, not a lock and a reading of both files, for what others have claimed meanwhile."""
        return step.generation is not None and has_record(self._paths.ledger, step.name, step.generation + 1)

    def _sign(self, name: str, generation: int) -> Sign:
        record = newest_record(self._paths.ledger, name, hint=generation)
        if (owner := holder(record)) is None:
            return Sign.DEAD if is_open(record) else Sign.ALIVE  # there for the taking, or settled: nothing to wait for
        self._looked_at.append(owner)
        return self._claimer.sign(owner)
