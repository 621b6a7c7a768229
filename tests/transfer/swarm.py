"""A simulation of many workers at one server, with the real decisions of each: time is made up, nothing waits."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from bulkhaul.transfer.limits import UNLIMITED, Limiter, Rates
from bulkhaul.transfer.sharing import Member, decode

ROUND_TRIP = 0.02
EVERY = 10.0
SILENCE = 60.0


@dataclass
class Server:
    """Takes `rate` requests a second and half a second's worth at once; refuses the rest."""

    rate: float
    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    _left: float = 1.0
    _at: float = 0.0

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
    alive: bool = True
    on_board: bool = False
    seen: dict[int, tuple[float, float]] = field(default_factory=dict)  # when it wrote, when we saw that
    taken: list[float] = field(default_factory=list)


class Swarm:
    """Workers that always have something to send, `lanes` requests at a time each; `run` until a moment."""

    def __init__(
        self,
        workers: int,
        *,
        rate: float = inf,
        limits: Rates = UNLIMITED,
        lanes: int = 8,
        starts: Callable[[int], float] = lambda _number: 0.0,
        seed: int = 1,
    ) -> None:
        self.random = random.Random(seed)
        self.server = Server(rate)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._board: dict[int, tuple[str, float]] = {}
        self.workers = [self._worker(number, limits) for number in range(workers)]
        for worker in self.workers:
            start = starts(worker.number)
            if limits != UNLIMITED:
                self._at(start, self._exchange, worker)
            for _ in range(lanes):
                self._at(start + self.random.random() * ROUND_TRIP, self._ask, worker, 0)

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)
        self.now = until

    def kill(self, number: int) -> None:
        self.workers[number].alive = False

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
            self._at(self.now + ROUND_TRIP / 2, self._arrive, worker, refusals)

    def _arrive(self, worker: Worker, refusals: int) -> None:
        taken = self.server.take(self.now)
        if taken:
            worker.taken.append(self.now)
        self._at(self.now + ROUND_TRIP / 2, self._answered, worker, taken, refusals)

    def _answered(self, worker: Worker, taken: bool, refusals: int) -> None:
        if taken:
            if worker.limiter.active:
                worker.limiter.succeeded(self.now)
            self._ask(worker, 0)
            return
        worker.limiter.throttled(self.now)
        if not worker.on_board:
            self._exchange(worker)
        pause = min(20.0, 0.5 * 2**refusals) * self.random.random()
        self._at(self.now + pause, self._ask, worker, refusals + 1)

    def _exchange(self, worker: Worker) -> None:
        if not worker.alive:
            return
        known, worker.on_board = worker.on_board, True
        entry = worker.member.turn(
            worker.limiter, self.now, self._others(worker), known=known, until=self.now + SILENCE * 2 / 3
        )
        self._board[worker.number] = (entry.encode(), self.now)
        pause = EVERY * (1 + self.random.random() / 10) if known else EVERY / 10
        if known and 0.0 in entry.granted:
            pause = EVERY / 5
        self._at(self.now + pause, self._exchange, worker)

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
