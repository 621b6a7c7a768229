"""What regulates one worker's requests: its own pacing and cap, alone or in agreement with the others of a joblist."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from bulkhaul.agreement import pause
from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.transfer.limits import UNLIMITED, Limiter
from bulkhaul.transfer.pacing import Pacing
from bulkhaul.transfer.sharing import Entry, Member, decode

MOST = 256
"""Requests in flight of one worker, the default of `max_concurrency`."""
Ticket = tuple[float, float]


class Regulator(Protocol):
    """The decisions of one worker; times are seconds of the simulation's clock."""

    def limit(self) -> int:
        """Requests that may be in flight."""
        ...

    def ask(self, now: float, nbytes: int) -> Ticket:
        """Queue a request, first or again."""
        ...

    def left(self, now: float, ticket: Ticket) -> float:
        """Seconds that it has to wait as things stand."""
        ...

    def finished(self, now: float, *, seconds: float, nbytes: int) -> None:
        """Note a request that was taken."""
        ...

    def throttled(self, now: float) -> bool:
        """Note one that was refused; True when an exchange begins with that."""
        ...

    def turn(self, now: float) -> float | None:
        """Exchange news if others take part; seconds until the next time, None while there is no need."""
        ...


class Alone:
    """A worker with its own pacing and its own idea of what S3 allows."""

    def __init__(self) -> None:
        self.limiter = Limiter()
        self._pacing = Pacing(MOST)
        self._held_before = 0

    def limit(self) -> int:
        """Requests that may be in flight."""
        return self._pacing.limit

    def ask(self, now: float, nbytes: int) -> Ticket:
        """Queue a request, first or again."""
        return self.limiter.ask(now, nbytes) if self.limiter.active else (0.0, 0.0)

    def left(self, now: float, ticket: Ticket) -> float:
        """Seconds that it has to wait as things stand."""
        return self.limiter.left(now, ticket) if self.limiter.active else 0.0

    def finished(self, now: float, *, seconds: float, nbytes: int) -> None:
        """Note a request that was taken."""
        if self.limiter.held_back == self._held_before:
            self._pacing.finished(now, seconds=seconds, nbytes=nbytes)
        else:
            self._held_before = self.limiter.held_back
            self._pacing.held_back(now)
        if self.limiter.active:
            self.limiter.succeeded(now)

    def throttled(self, now: float) -> bool:
        """Note one that was refused."""
        self.limiter.throttled(now)
        return False

    def turn(self, now: float) -> float | None:
        """Nothing is exchanged."""
        del now
        return None


@dataclass(slots=True)
class Board:
    """What each worker wrote last; read whole."""

    news: dict[int, Entry] = field(default_factory=dict)
    exchanges: int = 0


class Agreeing(Alone):
    """The same in agreement with the others of its joblist, from the first refusal on that any of them met."""

    def __init__(self, number: int, board: Board, *, draw: Callable[[], float]) -> None:
        super().__init__()
        self._number = number
        self._board = board
        self._draw = draw
        self._every = LeaseTimes().heartbeat / 2
        self._silence = max(LeaseTimes().ttl / 3, 4 * self._every)
        self._member = Member(UNLIMITED)
        self._member.move(self.limiter, "bucket")
        self._takes_part = False

    def throttled(self, now: float) -> bool:
        """Note one that was refused; True for the first."""
        super().throttled(now)
        begins, self._takes_part = not self._takes_part, True
        return begins

    def turn(self, now: float) -> float | None:
        """Read what all others wrote, agree, write."""
        news = self._board.news
        if not self._takes_part and not any(entry.cap < inf for entry in news.values()):
            return None
        self._takes_part = True
        self._board.exchanges += 1
        known = self._number in news
        others = [entry for number, entry in news.items() if number != self._number]
        entry = self._member.turn(self.limiter, now, others, known=known, until=now + 2 / 3 * self._silence)
        written = decode(entry.encode())
        assert written is not None
        news[self._number] = written
        return pause(self._every, known=known, unsettled=self._member.unsettled, draw=self._draw)


def alone(workers: int) -> list[Regulator]:
    """Workers that share nothing."""
    return [Alone() for _ in range(workers)]


def agreeing(workers: int, *, seed: int) -> list[Regulator]:
    """Workers of one joblist."""
    board, draw = Board(), random.Random(seed).random
    return [Agreeing(number, board, draw=draw) for number in range(workers)]
