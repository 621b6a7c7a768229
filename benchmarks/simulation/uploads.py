"""Single PUTs of many workers to one prefix: `Pacing` and `Attempts` decide, the prefix takes 3,500 a second.

A worker always has files to send. One event a request: its answer.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field

from bulkhaul.errors import Throttled
from bulkhaul.s3.retry import DEFAULT_POLICY, Attempts
from simulation.prefixes import LIMIT
from simulation.regulators import Regulator, Ticket

ROUND_TRIP = 0.03
"""Seconds of a PUT of a small file that is taken; drawn around it."""
_REFUSED_AFTER = 0.015
_FILE = 16 * 1024
_BURST = 0.1  # seconds' worth of requests that the prefix takes at once
_STARTS = 5.0  # seconds in which the workers of an array start
_LOOK = 0.25
_NOW: Ticket = (0.0, 0.0)
_THROTTLED = Throttled("s3://bucket/key", "SlowDown", "wait")


class Prefix:
    """Takes requests at its limit and a burst, and answers SlowDown to all others."""

    def __init__(self) -> None:
        self._left = LIMIT * _BURST
        self._at = 0.0

    def takes(self, now: float) -> bool:
        """Whether the request that comes now is taken."""
        self._left = min(LIMIT * _BURST, self._left + (now - self._at) * LIMIT)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(slots=True)
class Sender:
    """One worker: requests in flight or in a pause after SlowDown count against its limit, as threads do."""

    number: int
    regulator: Regulator
    active: int = 0
    taken: int = 0


@dataclass(slots=True)
class Traffic:
    """What the prefix saw; by second since the beginning."""

    seconds: float
    taken: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    given_up: int = 0
    by_worker: list[int] = field(default_factory=list)

    def share(self, start: float = 0.0) -> float:
        """The part of the limit that was used from `start` on."""
        found = sum(count for second, count in self.taken.items() if second >= start)
        return found / LIMIT / (self.seconds - start)

    def refused_share(self, start: float = 0.0) -> float:
        """The part of all requests that was refused from `start` on."""
        refused = sum(count for second, count in self.refused.items() if second >= start)
        taken = sum(count for second, count in self.taken.items() if second >= start)
        return refused / max(1, refused + taken)

    def fairness(self) -> float:
        """Jain's index of what the workers sent: 1 is level."""
        squares = sum(count * count for count in self.by_worker)
        return sum(self.by_worker) ** 2 / max(1, len(self.by_worker) * squares)


class _Uploads:
    def __init__(self, regulators: list[Regulator], *, seconds: float, seed: int) -> None:
        self.prefix = Prefix()
        self.random = random.Random(seed)
        self.traffic = Traffic(seconds)
        self.senders = [Sender(number, regulator) for number, regulator in enumerate(regulators)]
        self.now = 0.0
        self._count = 0
        self._queue: list[tuple[float, int, Sender, str, Ticket, Attempts | None]] = []
        for sender in self.senders:
            self._push(self.random.uniform(0, _STARTS), sender, "start")

    def run(self) -> None:
        queue = self._queue
        while queue and queue[0][0] < self.traffic.seconds:
            self.now, _, sender, what, ticket, attempts = heapq.heappop(queue)
            match what:
                case "taken":
                    self._taken(sender, ticket[0])
                case "refused":
                    self._refused(sender, attempts)
                case "left":
                    self._go_or_wait(sender, ticket, attempts)
                case "ask":
                    self._ask(sender, attempts)
                case "turn":
                    self._turn(sender)
                case _:
                    self._turn(sender)
                    self._fill(sender)
        self.traffic.by_worker = [sender.taken for sender in self.senders]

    def _fill(self, sender: Sender) -> None:
        while sender.active < sender.regulator.limit():
            sender.active += 1
            self._ask(sender, None)

    def _turn(self, sender: Sender) -> None:
        """What a regulator does now and then, beside the requests."""
        pause = sender.regulator.turn(self.now)
        if pause is not None:
            self._push(pause, sender, "turn")

    def _ask(self, sender: Sender, attempts: Attempts | None) -> None:
        self._go_or_wait(sender, sender.regulator.ask(self.now, _FILE), attempts)

    def _go_or_wait(self, sender: Sender, ticket: Ticket, attempts: Attempts | None) -> None:
        left = sender.regulator.left(self.now, ticket)
        if left > 0:
            # Threads wake when they wake, and look anew now and then.
            self._push(min(left, _LOOK) + 0.002 * self.random.random(), sender, "left", ticket, attempts)
            return
        taken = self.prefix.takes(self.now)
        (self.traffic.taken if taken else self.traffic.refused)[int(self.now)] += 1
        mean = ROUND_TRIP if taken else _REFUSED_AFTER
        what = "taken" if taken else "refused"
        self._push(mean * (0.7 + 0.6 * self.random.random()), sender, what, (self.now, 0.0), attempts)

    def _taken(self, sender: Sender, sent: float) -> None:
        sender.taken += 1
        sender.regulator.finished(self.now, seconds=self.now - sent, nbytes=_FILE)
        sender.active -= 1
        self._fill(sender)

    def _refused(self, sender: Sender, attempts: Attempts | None) -> None:
        if sender.regulator.throttled(self.now):
            self._turn(sender)
        attempts = attempts or Attempts(DEFAULT_POLICY, None, self.random.random, lambda: self.now)
        try:
            pause = attempts.pause_after(_THROTTLED, None)
        except Throttled:
            self.traffic.given_up += 1
            sender.active -= 1
            self._fill(sender)
        else:
            self._push(pause, sender, "ask", _NOW, attempts)

    def _push(
        self, after: float, sender: Sender, what: str, ticket: Ticket = _NOW, attempts: Attempts | None = None
    ) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + after, self._count, sender, what, ticket, attempts))


def upload(regulators: list[Regulator], *, seconds: float, seed: int) -> Traffic:
    """Let one worker for each regulator send to the same prefix for some seconds."""
    run = _Uploads(regulators, seconds=seconds, seed=seed)
    run.run()
    return run.traffic
