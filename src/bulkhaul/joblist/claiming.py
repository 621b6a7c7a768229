"""One attempt at one job: judge it under its lock, publish the claim, show it on line 1."""

from __future__ import annotations

from contextlib import suppress

from bulkhaul.errors import ClaimLost, InvalidJobFile, StorageError
from bulkhaul.fsio import storage_errors
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.heartbeat import Heartbeat, read_progress
from bulkhaul.joblist.job import CLAIMABLE, Owner, Status
from bulkhaul.joblist.jobfile import JobFile
from bulkhaul.joblist.ledger import Record, publish
from bulkhaul.joblist.liveness import Observer, Sign
from bulkhaul.joblist.locks import Lock
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.rewriting import LOCK_TIMEOUT, write_as_owner
from bulkhaul.joblist.succession import claim_after, is_deadly
from bulkhaul.joblist.views import read_jobfile, view_job


class Claimer:
    """Claims for one worker, one at a time; `given_up` are (job, reason) of those that it ended instead."""

    def __init__(
        self, paths: JoblistPaths, owner: Owner, *, lock: Lock, heartbeat: Heartbeat, observer: Observer
    ) -> None:
        self._paths = paths
        self._owner = owner
        self._lock = lock
        self._heartbeat = heartbeat
        self._observer = observer
        self._open: Claim | None = None
        self.given_up: list[tuple[str, str]] = []

    @property
    def holding(self) -> bool:
        """True while a claim has neither been ended nor been given up."""
        return self._open is not None

    def give_up(self) -> None:
        """Forget a claim whose end could not be published: its job counts as a dead worker's from now on."""
        self._heartbeat.carry(None, None)
        self._open = None

    def sign(self, owner: Owner) -> Sign:
        """One look at the owner of an open claim.

        Raises:
            StorageError: its heartbeat cannot be read.
        """
        if owner.token == self._owner.token:
            return Sign.ALIVE if self.holding else Sign.DEAD
        return self._observer.look(owner)

    def dead(self, owner: Owner) -> bool:
        """`sign` as the judgement that a take-over needs."""
        return self.sign(owner) is Sign.DEAD

    def claim(self, name: str) -> Claim | None:
        """Claim the job `name` if it is free or its owner is dead; None when it cannot be had.

        A job that three claims in a row left without an end and without progress is ended as `error` instead.

        Raises:
            StorageError: the joblist's storage failed; the claim was given back where that was possible.
        """
        with self._lock(self._paths.lock(name), LOCK_TIMEOUT):
            taken = self._publish(name)
        if taken is None:
            return None
        record, file = taken
        claim = Claim(self._paths, record, file, lock=self._lock, heartbeat=self._heartbeat, on_end=self._forget)
        self._open = claim
        try:
            # Before the first byte is sent, a person can see who has the job.
            write_as_owner(self._paths, self._lock, record, text=record.text, note_typed=False)
            return self._unless_deadly(claim, record)
        except ClaimLost:
            self.give_up()
            return None
        except StorageError:
            with suppress(StorageError, ClaimLost):
                claim.release("line 1 could not be written")
            raise

    def _forget(self) -> None:
        self._open = None

    def _publish(self, name: str) -> tuple[Record, JobFile] | None:
        view = view_job(self._paths, name, dead=self.dead)
        if view.standing not in CLAIMABLE:
            return None
        try:
            file = read_jobfile(self._paths, name)
        except InvalidJobFile:
            return None
        before = view.record
        takes_over = before is not None and before.end is None
        progress = read_progress(self._paths.heartbeat(before.owner.worker)) if before and takes_over else None
        record = claim_after(name, before, self._owner, progress=progress)
        # A worker without a job does not beat: after a long wait it shows that it lives before it owns one.
        self._heartbeat.renew_before_claim()
        if not publish(self._paths.ledger, record):
            return None
        if before and takes_over and before.owner.worker != self._owner.worker:
            self._remove_heartbeat(before.owner)
        return record, file

    def _unless_deadly(self, claim: Claim, record: Record) -> Claim | None:
        if not is_deadly(record):
            return claim
        last = record.facts.get("last") or "an unknown file"
        text = (
            f"worker died {record.deaths} times at {last}; "
            f"read its log in {self._paths.log('').parent}, remove the cause, then `bulkhaul retry`"
        )
        claim.end(Status.ERROR, text, facts=record.facts)
        self.given_up.append((claim.name, text))
        return None

    def _remove_heartbeat(self, owner: Owner) -> None:
        # Whoever was wrongly taken for dead makes it anew with the next beat.
        path = self._paths.heartbeat(owner.worker)
        with suppress(StorageError), storage_errors(path):
            path.unlink(missing_ok=True)
