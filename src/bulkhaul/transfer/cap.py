"""The rate of requests that S3 allows (pure), learned from its SlowDown answers.

The first refusal begins a measurement: what S3 goes on to take is a first idea of the rate, and a low one, since
whoever was refused pauses; it grows fast until S3 refuses more than a few. From then on each second's refusals lower
the rate by their share, though not below what S3 took meanwhile. After more than a few of them a plateau follows; then
growth begins slowly and gains speed, so that little is refused near the old rate and a server that allows more than
before is used again within a minute. A single refusal says little: after a stall anywhere on the way much arrives at
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf

FEW = 0.05
"""The share of refusals up to which a rate counts as allowed."""

_STEEPEST = 0.7  # one step down, when even more than the rest is refused
_PLATEAU = 3.0  # seconds without growth after more than a few refusals
_SPEED = 0.003  # growth a second, for each second since the plateau: 5 % after 6 s, 50 % after 16 s
_SEARCH = 0.25  # growth a second after the first measurement
_WINDOW = 1.0  # seconds of a measurement; longer than a round trip, whose refusals are one piece of news
_LONGEST_WINDOW = 5.0
_ENOUGH = 16  # answers that end a measurement sooner
_LEAST = 0.2  # requests a second: one that is never sent could not tell when S3 takes more


@dataclass(slots=True)
class Cap:
    """Requests a second that this worker may make; times are seconds of the caller's monotonic clock."""

    rate: float = inf
    known: bool = False
    _searching: bool = False
    _window_began: float = 0.0
    _taken: int = 0
    _refused: int = 0
    _quiet_since: float = 0.0
    _grown_at: float = 0.0

    def throttled(self, now: float) -> None:
        """Note a refusal."""
        if not self.known:
            self.known = True
            self._restart(now)
        if now >= self._window_began:
            self._refused += 1
            self._measure(now)

    def succeeded(self, now: float) -> None:
        """Note a request that S3 took."""
        if now >= self._window_began:
            self._taken += 1
            self._measure(now)

    def grow(self, now: float) -> None:
        """Note that a request has to wait: a rate that nobody uses is no reason to raise it."""
        # Seconds in which nobody waited count for nothing.
        before = max(self._grown_at, now - _WINDOW)
        self._grown_at = now
        start = self._quiet_since + _PLATEAU
        if self.rate == inf:
            return
        if self._searching:
            self.rate *= exp(_SEARCH * (now - before))
        elif now > start:
            self.rate *= exp(_SPEED / 2 * ((now - start) ** 2 - max(0.0, before - start) ** 2))

    def hold(self, now: float) -> None:
        """Begin a plateau: too much was refused."""
        self._quiet_since = now

    def agree(self, rate: float, now: float) -> None:
        """Go on with the `rate` that all workers agreed on."""
        if not self.known:
            self.known = True
            self._restart(now + _WINDOW)
        if self.rate == inf:
            # Growth counts from here: a clock that begins at the machine's start would make it e^24 at once.
            self.hold(now)
        self.rate = max(_LEAST, rate)

    def _measure(self, now: float) -> None:
        elapsed, answers = now - self._window_began, self._taken + self._refused
        if elapsed < _WINDOW or (answers < _ENOUGH and elapsed < _LONGEST_WINDOW):
            return
        if self.rate < inf:
            self._judge(self._refused / answers, self._taken / elapsed, now)
        elif self.known:
            self.rate = max(_LEAST, self._taken / elapsed)
            self._searching, self._grown_at = True, now
            # What was sent without a rate is mostly answered within a window, and says nothing of it.
            now += _WINDOW
        self._restart(now)

    def _judge(self, refused: float, taken: float, now: float) -> None:
        # Requests from before the rate was known may be refused by the hundred: they say nothing against it.
        self.rate = min(self.rate, max(_LEAST, taken, self.rate * max(_STEEPEST, 1 - refused)))
        if refused > FEW:
            self._searching = False
            self.hold(now)

    def _restart(self, now: float) -> None:
        self._window_began, self._taken, self._refused = now, 0, 0
