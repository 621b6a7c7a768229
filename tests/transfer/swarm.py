"""A simulation of many workers at one server, with the real decisions of each: time is made up, nothing waits."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from bulkhaul.agreement import pause
from bulkhaul.transfer.limits import UNLIMITED, Limiter, Rates
from bulkhaul.transfer.pacing import Pacing
from bulkhaul.transfer.sharing import Member, decode

ROUND_TRIP = 0.02
EVERY = 10.0
SILENCE = 60.0


@dataclass
class Server:
    """Takes `rate` requests a second and half a second's worth at once; refuses the rest.

    It answers `speed` requests a second, one after the other, whatever it says.
    """

    rate: float
    speed: float = inf
    _free_at: float = 0.0
    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    _left: float = 1.0
    _at: float = 0.0

    def turn(self, now: float) -> float:
        """When the request that comes now is looked at."""
        self._free_at = max(now, self._free_at) + 1 / self.speed
        return self._free_at

    def take(self, now: float) -> bool:
        self._left = min(max(1.0, self.rate / 2), self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left < 1:
            self.refused.append(now)
            return False
        self._left -= 1
        self.taken.append(now)
        return True


@dataclass
class Worker:
    """One worker's decisions, what it has seen of the others, and when its requests were taken."""

    number: int
    limiter: Limiter
    member: Member
    pacing: Pacing = field(default_factory=lambda: Pacing(most=64))
    active: int = 0
    held_before: int = 0
    alive: bool = True
    on_board: bool = False
    seen: dict[int, tuple[float, float]] = field(default_factory=dict)  # when it wrote, when we saw that
    taken: list[float] = field(default_factory=list)


class Swarm:
    """Workers that always have something to send, as many requests at a time as they pace; `run` until a moment."""

    def __init__(
        self,
        workers: int,
        *,
        rate: float = inf,
        limits: Rates = UNLIMITED,
        speed: float = inf,
        in_flight: int = 4,
        starts: Callable[[int], float] = lambda _number: 0.0,
        seed: int = 1,
    ) -> None:
        self.random = random.Random(seed)
        self.server = Server(rate, speed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._board: dict[int, tuple[str, float]] = {}
        self.workers = [self._worker(number, limits) for number in range(workers)]
        for worker in self.workers:
            worker.pacing.begin_with(in_flight)
            start = starts(worker.number)
            if limits != UNLIMITED:
                self._at(start, self._exchange, worker)
            self._at(start + self.random.random() * ROUND_TRIP, self._fill, worker)

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)
        self.now = until

    def kill(self, number: int) -> None:
        self.workers[number].alive = False

    def leave(self, number: int) -> None:
        """It has nothing more to send, and takes its line from the board."""
        self.kill(number)
        self._board.pop(number, None)

    def silence(self, worker: Worker) -> None:
        """Its file system hangs: it sends on and exchanges nothing."""
        self._events = [event for event in self._events if event[2] != self._exchange or event[3] != (worker,)]
        heapq.heapify(self._events)

    def count(self, start: float, end: float) -> int:
        """Requests that were taken in a stretch of time."""
        return sum(start <= moment < end for moment in self.server.taken)

    def _worker(self, number: int, limits: Rates) -> Worker:
        member = Member(limits)
        limiter = Limiter(part=member.nothing())
        member.move(limiter, "bucket")
        return Worker(number, limiter, member)

    def _at(self, moment: float, act: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (moment, next(self._order), act, arguments))

    def _fill(self, worker: Worker) -> None:
        while worker.active < worker.pacing.limit:
            worker.active += 1
            self._ask(worker, 0)

    def _ask(self, worker: Worker, refusals: int) -> None:
        tickets = worker.limiter.ask(self.now, 1_000) if worker.limiter.active else (0.0, 0.0)
        self._wait(worker, tickets, refusals)

    def _wait(self, worker: Worker, tickets: tuple[float, float], refusals: int) -> None:
        if not worker.alive:
            return
        left = worker.limiter.left(self.now, tickets) if worker.limiter.active else 0.0
        if left > 0:
            late = self.random.random() * 0.002  # threads wake when they wake
            self._at(self.now + min(left, 0.25) + late, self._wait, worker, tickets, refusals)
        else:
            half = ROUND_TRIP * (0.35 + 0.3 * self.random.random())
            self._at(self.server.turn(self.now + half), self._arrive, worker, half, refusals)

    def _arrive(self, worker: Worker, half: float, refusals: int) -> None:
        taken = self.server.take(self.now)
        if taken:
            worker.taken.append(self.now)
        self._at(self.now + half, self._answered, worker, taken, 2 * half, refusals)

    def _answered(self, worker: Worker, taken: bool, seconds: float, refusals: int) -> None:
        if taken:
            self._paced(worker, seconds)
            if worker.limiter.active:
                worker.limiter.succeeded(self.now)
            worker.active -= 1
            self._fill(worker)
            return
        worker.limiter.throttled(self.now)
        if not worker.on_board:
            self._exchange(worker)
        wait = min(20.0, 0.5 * 2**refusals) * self.random.random()
        self._at(self.now + wait, self._ask, worker, refusals + 1)

    def _paced(self, worker: Worker, seconds: float) -> None:
        if worker.limiter.held_back == worker.held_before:
            worker.pacing.finished(self.now, seconds=seconds, nbytes=1_000)
        else:
            worker.held_before = worker.limiter.held_back
            worker.pacing.held_back(self.now)

    def _exchange(self, worker: Worker) -> None:
        if not worker.alive:
            return
        known, worker.on_board = worker.on_board, True
        entry = worker.member.turn(
            worker.limiter, self.now, self._others(worker), known=known, until=self.now + SILENCE * 2 / 3
        )
        self._board[worker.number] = (entry.encode(), self.now)
        after = pause(EVERY, known=known, unsettled=worker.member.unsettled, draw=self.random.random)
        self._at(self.now + after, self._exchange, worker)

    def _others(self, worker: Worker) -> list[Any]:
        found = []
        for number, (text, written) in self._board.items():
            if number == worker.number:
                continue
            if worker.seen.get(number, (None, 0.0))[0] != written:
                worker.seen[number] = (written, self.now)
            elif self.now - worker.seen[number][1] >= SILENCE:
                continue
            found.append(decode(text))
        return found
