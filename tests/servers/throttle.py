"""What the stub refuses when requests come faster than an allowed rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from servers.stub.message import Answer, Request, error


class Throttle:
    """A fault for the stub's script: SlowDown above `rate` requests a second, half a second's worth at once.

    `taken` and `refused` hold the moments (monotonic clock) of all requests that met it.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.taken: list[float] = []
        self.refused: list[float] = []
        self._lock = threading.Lock()
        self._left = 1.0
        self._at = time.monotonic()

    def __call__(self, _request: Request, serve: Callable[[], Answer]) -> Answer:
        return serve() if self._take() else error(503, "SlowDown", "Please reduce your request rate.")

    def _take(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._left = min(max(1.0, self.rate / 2), self._left + (now - self._at) * self.rate)
            self._at = now
            fits = self._left >= 1
            self._left -= fits
            (self.taken if fits else self.refused).append(now)
            return fits
