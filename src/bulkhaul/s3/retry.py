"""The one place that repeats requests: by class of error, with the gate before each attempt and in each pause.

Both libraries' own retries are off, so this is the whole truth: throttling costs time and no tries, transient faults
cost tries, an ended token costs a renewal, a provider of tokens that fails costs time, everything else surfaces at
once. A request that hangs is cut off elsewhere (`watchdog`, and the client of `obstore_puts`) and is a transient fault
here.
"""

from __future__ import annotations

import logging
import random as _random
import time
from collections.abc import Callable
from typing import TypeVar

from bulkhaul.errors import (
    ClockSkewed,
    CredentialsError,
    CredentialsExpired,
    ProviderFailed,
    S3Error,
    Throttled,
    Transient,
)
from bulkhaul.s3.credentials import CredentialSource
from bulkhaul.s3.policy import DEFAULT_POLICY, RetryPolicy
from bulkhaul.s3.token import Token

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
Gate = Callable[[], None]
"""Called before each new request: cheap; raises Stopped, Interrupted or ClaimLost when no more may be sent."""

_SLICE = 1.0  # seconds between two looks at the gate in a pause
_SETTLE = 0.15  # obstore goes on with its copy of the old token for up to 100 ms


def open_gate() -> None:
    """The gate that is always open."""


def repeat(
    call: Callable[[], T],
    *,
    nbytes: int = 0,
    gate: Gate = open_gate,
    take: Callable[[int], None] | None = None,
    source: CredentialSource | None = None,
    on_throttle: Callable[[], None] | None = None,
    policy: RetryPolicy = DEFAULT_POLICY,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = _random.random,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Make one request until it succeeds, or its error's class or budget says that no repetition helps.

    `take` is called with `nbytes` before each attempt, and may wait. `source` is renewed when S3 says that its token
    has ended; `on_throttle` hears of each throttled answer.

    Raises:
        S3Error: the last one, as it was raised.
        Stopped, ClaimLost: from the gate.
    """
    attempts: Attempts | None = None
    while True:
        gate()
        if take is not None:
            take(nbytes)
        used: Token | None = None
        try:
            used = None if source is None else source.token()
            return call()
        except S3Error as error:
            if on_throttle is not None and isinstance(error, Throttled):
                on_throttle()
            attempts = attempts or Attempts(policy, source, random, clock)
            pause = attempts.pause_after(error, used)
            _LOG.debug("again in %.2f s: %s", pause, error)
        _sleep_in_slices(pause, gate=gate, sleep=sleep)


class Attempts:
    """The budgets of one request: what each class of error has used up so far."""

    def __init__(
        self,
        policy: RetryPolicy,
        source: CredentialSource | None,
        random: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._source = source
        self._random = random
        self._clock = clock
        self._tries = 0
        self._throttles = 0
        self._throttled_since = 0.0
        self._outages = 0
        self._down_since = 0.0
        self._renewals = 0
        self._refused_fresh = 0
        self._skews = 0

    def pause_after(self, error: S3Error, used: Token | None) -> float:
        """Seconds to wait before the next attempt; raises `error` when there is none."""
        if isinstance(error, ProviderFailed):
            return self._outage(error)
        if isinstance(error, CredentialsExpired):
            return self._renewed(error, used)
        self._refused_fresh = self._outages = 0
        if isinstance(error, Throttled):
            return self._throttled(error)
        if isinstance(error, ClockSkewed):
            # A request that waited long in a queue looks skewed too: signed anew once, then it is the clock.
            self._skews += 1
            if self._skews > 1:
                raise error
            return 0.0
        if not isinstance(error, Transient):
            raise error
        self._tries += 1
        if self._tries >= self._policy.tries:
            raise error
        return self._jittered(self._tries)

    def _throttled(self, error: Throttled) -> float:
        now = self._clock()
        if self._throttles == 0:
            self._throttled_since = now
        self._throttles += 1
        if now - self._throttled_since >= self._policy.throttle_budget:
            raise error
        return self._jittered(self._throttles)

    def _outage(self, error: ProviderFailed) -> float:
        now = self._clock()
        if self._outages == 0:
            self._down_since = now
        self._outages += 1
        if now - self._down_since >= self._policy.provider_budget:
            raise error
        return self._jittered(self._outages)

    def _renewed(self, error: CredentialsExpired, used: Token | None) -> float:
        if self._source is None or used is None:
            raise error
        self._renewals += 1
        self._refused_fresh += 1
        if self._refused_fresh > 2 or self._renewals > self._policy.renewals:
            raise CredentialsError(
                error.thing,
                f"S3 refuses each new token at once: {error.reason}",
                "check the provider of the credentials and this machine's clock",
                code=error.code,
            ) from error
        try:
            self._source.renew(used)
        except ProviderFailed as failure:
            self._renewals -= 1
            self._refused_fresh -= 1
            return self._outage(failure)
        self._outages = 0
        return _SETTLE

    def _jittered(self, number: int) -> float:
        bound = min(self._policy.longest_pause, self._policy.first_pause * 2.0 ** min(number - 1, 30))
        return bound * self._random()


def pause_by(policy: RetryPolicy, *, gate: Gate) -> None:
    """Wait for a while drawn evenly up to the policy's longest pause; looks at the gate each second."""
    bound = policy.longest_pause
    _sleep_in_slices(_random.uniform(0, bound), gate=gate, sleep=time.sleep)  # noqa: S311 - no secret


def _sleep_in_slices(pause: float, *, gate: Gate, sleep: Callable[[float], None]) -> None:
    while pause > 0:
        sleep(min(pause, _SLICE))
        pause -= _SLICE
        if pause > 0:
            gate()
