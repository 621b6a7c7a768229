"""How many requests are in flight (pure): more while that gains, then level.

One window measures one limit. A window that moved clearly more than the best before raises the limit; one that did not
takes it back to the last that paid and rests there. What S3 refuses is a matter of the rate, not of how many are in
flight: see `cap`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_GAIN = 1.05  # a server with queues of its own gives a little more for each doubling, and a third more in the end
_BEGIN_RATE = 3000  # requests a second, somewhat less than S3 takes of one prefix
_LISTING = 0.005  # seconds that a listing takes however near the server is
_BEGIN_AT_MOST = 128  # in flight, whatever the first listing took: a server that was only busy is not stormed
_REST = 15.0  # seconds at a limit that more requests did not better
_WINDOW = 0.5  # seconds
_GLANCE = 0.1  # seconds
_FAR = 0.01  # seconds that a request takes
_PLAIN = 1.3
_REQUEST_WEIGHT = 64 * 1024  # a request costs about as much as this many bytes


@dataclass(slots=True)
class Pacing:
    """The limit of requests in flight; times are seconds of the caller's monotonic clock. Not thread-safe."""

    most: int
    limit: int = 4
    _warm: bool = False
    _began: float | None = None
    _requests: int = 0
    _work: int = 0
    _best: float = 0.0
    _good: int = 1
    _hold_until: float = 0.0

    def __post_init__(self) -> None:
        self.limit = self._good = min(self.limit, self.most)

    def begin_with(self, limit: int) -> None:
        """Begin with no less than `limit`, unless something has been measured."""
        if self._began is None and not self._warm:
            self.limit = self._good = min(self.most, max(self.limit, limit))

    def expect(self, seconds: float) -> None:
        """Begin with what an answer after `seconds` makes likely: enough in flight for `_BEGIN_RATE`."""
        self.begin_with(min(_BEGIN_AT_MOST, int((seconds - _LISTING) * _BEGIN_RATE)))

    def finished(self, now: float, *, seconds: float, nbytes: int, requests: int = 1) -> None:
        """Note requests that took `seconds` each, in the mean, and carried `nbytes` together."""
        if self._began is None:
            self._began = now - seconds
        self._requests += requests
        self._work += nbytes + requests * _REQUEST_WEIGHT
        elapsed = now - self._began
        if elapsed < _GLANCE or self._requests < 2 * self.limit:
            return
        rate = self._work / elapsed
        # Far away each doubling gains all of it, which is plain at a glance; near by a glance sees mostly noise.
        if elapsed >= _WINDOW or (seconds >= _FAR and rate > _PLAIN * self._best):
            if self._warm:
                self._judge(rate, now)
            self._warm = True
            self._restart(now)

    def held_back(self, now: float) -> None:
        """Note that a limit held requests back: what they did until now says nothing of how many the line takes."""
        self._restart(now)

    def _restart(self, now: float) -> None:
        self._began, self._requests, self._work = now, 0, 0

    def _judge(self, rate: float, now: float) -> None:
        if now < self._hold_until:
            return
        if rate > self._best * _GAIN:
            self._best, self._good = rate, self.limit
            self.limit = min(self.most, 2 * self.limit)
        elif self.limit > self._good:
            self.limit = self._good
            self._hold_until = now + _REST
        else:
            # Rested: what the line gives may have changed, so the present rate is the one to better.
            self._best = rate
            self.limit = min(self.most, 2 * self.limit)


class SharedPacing:
    """One `Pacing` that many threads feed; `held_back` counts how often a limit held a request back."""

    def __init__(
        self,
        pacing: Pacing,
        *,
        held_back: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pacing = pacing
        self._held_back = held_back
        self._held_before = held_back()
        self._clock = clock
        self._lock = threading.Lock()

    def expect(self, seconds: float) -> None:
        """Begin with what a first answer after `seconds` makes likely."""
        with self._lock:
            self._pacing.expect(seconds)

    def begin_with(self, limit: int) -> None:
        """Begin with no less than `limit`, unless something has been measured."""
        with self._lock:
            self._pacing.begin_with(limit)

    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._pacing.limit

    def timed(self, call: Callable[[], T], *, nbytes: int) -> T:
        """Make a request that carries `nbytes` and note how long it took; one that fails tells nothing of the rate."""
        begun = self._clock()
        answer = call()
        self._finished(self._clock() - begun, nbytes=nbytes)
        return answer

    def finished(self, requests: int, *, seconds: float, nbytes: int) -> None:
        """Note requests that another process made: `seconds` and `nbytes` of all together."""
        self._finished(seconds / requests, nbytes=nbytes, requests=requests)

    def _finished(self, seconds: float, *, nbytes: int, requests: int = 1) -> None:
        with self._lock:
            now, held_back = self._clock(), self._held_back()
            if held_back == self._held_before:
                self._pacing.finished(now, seconds=seconds, nbytes=nbytes, requests=requests)
            else:
                self._held_before = held_back
                self._pacing.held_back(now)
