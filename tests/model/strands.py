"""Real workers on a real folder, each held before each of its calls to the file system until it is told to go on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bulkhaul.errors import ClaimLost, StorageError
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.claiming import Claimer
from bulkhaul.joblist.finder import Finder
from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes
from bulkhaul.joblist.index import Index, Offer
from bulkhaul.joblist.job import Owner
from bulkhaul.joblist.ledger import has_record, newest_numbers, newest_record
from bulkhaul.joblist.liveness import Observer, Sign, this_owner
from bulkhaul.joblist.locks import Held
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.seeking import Look, Names, Numbers, Pause, Refresh, Reread, Seeker, Step, Try
from bulkhaul.joblist.succession import holder, is_open
from bulkhaul.joblist.views import job_names
from joblist.standing_inputs import go_on

LEASE = LeaseTimes(180.0, 20.0)


class Killed(BaseException):
    """What ends a strand at a call, and at each call after it: nothing more of it reaches the file system."""


class Strand(threading.Thread):
    """One deed in a thread of its own, held before each call; `result` is there when it is `over`."""

    def __init__(self, deed: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._deed = deed
        self._go = threading.Semaphore(0)
        self._came = threading.Semaphore(0)
        self._killed = False
        self._allowed = 0
        self.over = False
        self.wrote: set[str] = set()
        self.result: object = None
        self.start()
        self._came.acquire()

    def run(self) -> None:
        try:
            self._wait()
            self.result = self._deed()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - whoever waits for the result judges it
            self.result = error
        finally:
            self.over = True
            self._came.release()

    def before(self, call: str, path: str) -> None:
        """The gate of this thread."""
        self._wait()
        if call == "replace":
            self.wrote.add(path)

    def _wait(self) -> None:
        if not self._allowed and not self._killed:
            self._came.release()
            self._go.acquire()
        if self._killed:
            raise Killed
        self._allowed -= 1

    def step(self, calls: int) -> None:
        """Let it make so many calls, or fewer when it is over."""
        if not self.over:
            self._allowed = calls
            self._go.release()
            self._came.acquire()

    def kill(self) -> None:
        """End it before its next call."""
        self._killed = True
        if not self.over:
            self._go.release()
            self._came.acquire()
        self.join()


def gate(call: str, path: str) -> None:
    """For `gated_calls`: strands wait, all other threads go on."""
    present = threading.current_thread()
    if isinstance(present, Strand):
        present.before(call, path)


class Lights:
    """Locks in memory, for workers without patience; or none."""

    def __init__(self, *, exclude: bool) -> None:
        self._exclude = exclude
        self._held: set[Path] = set()

    @contextmanager
    def lock(self, path: Path, _timeout: float) -> Iterator[Held]:
        if not self._exclude:
            yield Held.UNAVAILABLE
        elif path in self._held:
            yield Held.BUSY
        else:
            self._held.add(path)
            try:
                yield Held.YES
            finally:
                self._held.discard(path)


class Clock:
    """Time that all share; it passes in pauses and when somebody says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Hand:
    """One worker: the parts of a session, whose beats are made from outside and whose pauses let the clock go on."""

    def __init__(self, paths: JoblistPaths, clock: Clock, lights: Lights, *, gone: set[str], seed: int) -> None:
        self.owner = this_owner()
        self.claim: Claim | None = None
        self.beats = Heartbeat(paths.heartbeat(self.owner.worker), LEASE, clock=clock)
        self.beats.renew()
        self._paths = paths
        self._clock = clock
        observer = Observer(paths, LEASE.ttl, lambda owner: owner.worker in gone, clock=clock)
        self.claimer = Claimer(paths, self.owner, lock=lights.lock, heartbeat=self.beats, observer=observer)
        self._finder = Finder(paths, lock=lights.lock, dead=self.claimer.dead)
        self._seeker = Seeker(LEASE, offset=0.0, clock=clock, random=random.Random(seed))
        self.strand: Strand | None = None

    @property
    def busy(self) -> bool:
        return self.strand is not None

    def take(self, name: str) -> Claim | None:
        """Try one job."""
        self.claimer.give_up()
        return self.claimer.claim(name)

    def scan(self) -> None:
        """Make an index, whoever else is at it."""
        self._finder.refresh((0, 0), go_on, force=True, alone=True)

    def seek(self) -> Claim | None:
        """What `Session.claim_next` does, in the clock's time; nobody goes home before each offer was tried or seen."""
        self.claimer.give_up()
        steps = self._seeker.steps()
        answer: Any = None
        claim: Claim | None = None
        offered: set[str] = set()
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                assert claim is not None or not offered, f"went home without a look at {offered}"
                return claim
            if isinstance(step, Try):
                offered.discard(step.name)
                claim = None if self._taken(step) else self.claimer.claim(step.name)
                answer = claim is not None
            else:
                answer = self._make(step)
                offered = _left(offered, step, answer)

    def _taken(self, step: Try) -> bool:
        return step.generation is not None and has_record(self._paths.ledger, step.name, step.generation + 1)

    def _make(self, step: Step) -> object:
        match step:
            case Reread():
                return self._finder.reread(step.known)
            case Refresh():
                return self._finder.refresh(step.known, go_on, force=step.force, alone=step.alone)
            case Names():
                return [Offer(name) for name in job_names(self._paths)]
            case Numbers():
                return newest_numbers(self._paths.ledger)
            case Look():
                return self._sign(newest_record(self._paths.ledger, step.name, hint=step.generation))
            case Pause():
                self._clock.now += step.seconds
        return None

    def _sign(self, record: Any) -> Sign:
        owner: Owner | None = holder(record)
        if owner is None:
            return Sign.DEAD if is_open(record) else Sign.ALIVE
        return self.claimer.sign(owner)


def _left(offered: set[str], step: Step, answer: Any) -> set[str]:
    """What a fresh index offers and is neither tried nor looked at so far."""
    if isinstance(step, Look):
        return offered - {step.name}
    if isinstance(step, Refresh | Reread) and answer is not None:
        index: Index = answer.index
        return {offer.name for offer in index.claimable()}
    return offered


def told(deed: Callable[[], object]) -> Callable[[], object]:
    """A deed whose lost claim or failed storage is its result."""

    def guarded() -> object:
        try:
            return deed()
        except (ClaimLost, StorageError) as error:
            return error

    return guarded
