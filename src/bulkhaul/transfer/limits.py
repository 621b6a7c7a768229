"""How many requests and bytes one worker may send in a second: its own limits, its part of the joblist's, S3's cap.

`Limiter` decides and knows no clock; `Limits` lets many threads wait by it. Where nothing is limited, and S3 has
refused nothing, the one cost is a look at `Limits.active`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import NamedTuple

from bulkhaul.transfer.cap import Cap

_BURST = 0.1  # seconds' worth that may be saved up
_LOOK = 0.25  # seconds between two looks at the gate and at rates that may have changed


class Rates(NamedTuple):
    """Requests and bytes a second; infinite where nothing limits them."""

    requests: float = inf
    nbytes: float = inf


UNLIMITED = Rates()
NOTHING = Rates(0.0, 0.0)


class Use(NamedTuple):
    """What a worker did since the last look; `hungry` tells of each kind whether it was what a request waited for."""

    seconds: float
    requests: int
    nbytes: int
    succeeded: int
    throttled: int
    hungry: tuple[bool, bool]


class Allowance:
    """What one rate lets pass: whoever asks may go when all that was asked for before has been allowed.

    So one request larger than a second's worth passes too, and those after it wait it out; a waiter that wakes late
    loses nothing, and a change of the rate holds for all who wait.
    """

    def __init__(self) -> None:
        self.rate = inf
        self._asked = 0.0
        self._allowed = 0.0
        self._at = 0.0

    def set_rate(self, now: float, rate: float) -> None:
        """Change the rate; none goes on from what has been asked for."""
        self._fill(now)
        self.rate = rate

    def ask(self, now: float, amount: float) -> float:
        """Queue for `amount`; returns the ticket."""
        self._fill(now)
        ticket = self._asked
        self._asked += amount
        return ticket

    def left(self, now: float, ticket: float) -> float:
        """Seconds that the ticket has to wait at the present rate."""
        if self.rate == 0:
            return inf
        self._fill(now)
        return max(0.0, (ticket - self._allowed) / self.rate)

    def give_back(self, amount: float) -> None:
        """Let others have what was asked for and will not be used."""
        self._allowed += amount

    def _fill(self, now: float) -> None:
        if self.rate == inf:
            self._allowed = self._asked
        else:
            gained = self.rate * max(0.0, now - self._at)
            self._allowed = min(self._asked + self.rate * _BURST, self._allowed + gained)
        self._at = max(self._at, now)


class Limiter:
    """The limits of one worker (pure); times are seconds of the caller's monotonic clock. Not thread-safe.

    `part` is this worker's part of the joblist's limits. It counts until a moment that is given with it, so that a
    worker that is no longer heard uses nothing that others were promised. `held_back` counts how often a request had to
    wait, or was refused.
    """

    def __init__(self, own: Rates = UNLIMITED, *, part: Rates = UNLIMITED) -> None:
        self.own = own
        self.part = part
        self.cap = Cap()
        self.held_back = 0
        self._until = inf
        self._requests, self._nbytes = Allowance(), Allowance()
        self._looked_at: float | None = None
        self._hungry: tuple[bool, bool]
        self._restart()

    @property
    def active(self) -> bool:
        """Whether any request may have to wait."""
        return self.cap.known or (self.own, self.part) != (UNLIMITED, UNLIMITED)

    def ask(self, now: float, nbytes: int) -> tuple[float, float]:
        """Queue a request that carries `nbytes`; returns its tickets."""
        self._set_rates(now)
        self._asked_requests += 1
        self._asked_nbytes += nbytes
        return self._requests.ask(now, 1), self._nbytes.ask(now, nbytes)

    def left(self, now: float, tickets: tuple[float, float]) -> float:
        """Seconds that the request has to wait as things stand."""
        self._set_rates(now)
        requests, nbytes = self._requests.left(now, tickets[0]), self._nbytes.left(now, tickets[1])
        if requests > 0:
            self.cap.grow(now)
        wait = max(requests, nbytes)
        if wait > 0:
            self.held_back += 1
            self._hungry = (self._hungry[0] or requests == wait, self._hungry[1] or nbytes == wait)
        return wait

    def give_back(self, nbytes: int) -> None:
        """A request that carries `nbytes` will not be made."""
        self._requests.give_back(1)
        self._nbytes.give_back(nbytes)

    def throttled(self, now: float) -> None:
        """Note an answer that asks for fewer requests."""
        self._throttled += 1
        self.held_back += 1
        self.cap.throttled(now)

    def succeeded(self, now: float) -> None:
        """Note a request that S3 took."""
        self._succeeded += 1
        self.cap.succeeded(now)

    def grant(self, part: Rates, *, until: float) -> None:
        """Take `part` of the joblist's limits, good until the moment `until`."""
        self.part, self._until = part, until

    def look(self, now: float) -> Use:
        """What was done since the last look; the count begins anew."""
        seconds = 0.0 if self._looked_at is None else now - self._looked_at
        use = Use(seconds, self._asked_requests, self._asked_nbytes, self._succeeded, self._throttled, self._hungry)
        self._restart()
        self._looked_at = now
        return use

    def _restart(self) -> None:
        self._asked_requests = self._asked_nbytes = self._succeeded = self._throttled = 0
        self._hungry = (False, False)

    def _set_rates(self, now: float) -> None:
        part = self.part if now <= self._until or self.part == UNLIMITED else NOTHING
        self._requests.set_rate(now, min(self.own.requests, part.requests, self.cap.rate))
        self._nbytes.set_rate(now, min(self.own.nbytes, part.nbytes))


class Limits:
    """One `Limiter` that many threads wait by.

    `active` alone is looked at before each request while nothing is limited; `on_refusal` is called at the first answer
    that asks for fewer requests.
    """

    def __init__(
        self,
        own: Rates = UNLIMITED,
        *,
        part: Rates = UNLIMITED,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limiter = Limiter(own, part=part)
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._fault: BaseException | None = None
        self.on_refusal: Callable[[], None] = lambda: None
        self.active = self._limiter.active

    def take(self, nbytes: int, *, gate: Callable[[], None]) -> None:
        """Wait until one request that carries `nbytes` may be made; `gate` is asked four times a second meanwhile.

        Raises:
            StorageError: the part of the joblist's limits cannot be told.
            Whatever `gate` raises; then the request counts as not made.
        """
        with self._lock:
            tickets = self._limiter.ask(self._clock(), nbytes)
        try:
            while True:
                with self._lock:
                    left = self._limiter.left(self._clock(), tickets)
                if left <= 0:
                    return
                if self._fault is not None:
                    raise self._fault
                self._sleep(min(left, _LOOK))
                gate()
        except BaseException:
            with self._lock:
                self._limiter.give_back(nbytes)
            raise

    def throttled(self) -> None:
        """Note an answer that asks for fewer requests."""
        with self._lock:
            first = not self._limiter.cap.known
            self._limiter.throttled(self._clock())
            self.active = True
        if first:
            self.on_refusal()

    def succeeded(self) -> None:
        """Note a request that S3 took; asked for only while `active`."""
        with self._lock:
            self._limiter.succeeded(self._clock())

    def refuse(self, fault: BaseException | None) -> None:
        """Let whoever has to wait end with `fault`; None: let them wait again."""
        self._fault = fault

    @property
    def held_back(self) -> int:
        """How often a request had to wait or was refused."""
        return self._limiter.held_back

    @contextmanager
    def held(self) -> Iterator[tuple[Limiter, float]]:
        """The limiter and the present moment, while no thread asks: for whoever agrees with other workers."""
        with self._lock:
            yield self._limiter, self._clock()
            self.active = self._limiter.active
