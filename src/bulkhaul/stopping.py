"""Why a worker should stop: a signal that came, or a deadline that is near. Asked before each request.

SLURM sends USR1 ahead of the time limit and a bare TERM for scancel and preemption. Which came first decides whether
the task may be requeued, so it is remembered.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType

from bulkhaul.errors import Interrupted, Stopped

MARGIN = timedelta(seconds=60)
"""Time kept before a deadline to end the requests in flight, park parts and give the claim back; a quarter of what is
left at the start where that is less, so that a short limit is not all margin."""

_NEXT_STEP = "run the same command again to go on"


def utc_now() -> datetime:
    """The present time, with its zone."""
    return datetime.now(UTC)


class StopRequest:
    """The first signal that came and the deadline; `check` raises once either says stop."""

    def __init__(self, *, deadline: datetime | None = None, now: Callable[[], datetime] = utc_now) -> None:
        self.deadline = deadline
        self.first_signal: signal.Signals | None = None
        self._now = now
        left = self.seconds_left()
        self._margin = 0.0 if left is None else min(MARGIN.total_seconds(), max(0.0, left / 4))

    def seconds_left(self) -> float | None:
        """Seconds until the deadline, negative behind it; None without one."""
        return None if self.deadline is None else (self.deadline - self._now()).total_seconds()

    def check(self) -> None:
        """Return while work may go on.

        Raises:
            Interrupted: after SIGINT.
            Stopped: after another signal, or with less than the margin left before the deadline.
        """
        if self.first_signal is signal.SIGINT:
            raise Interrupted("stopped", "by Ctrl-C", _NEXT_STEP)
        if self.first_signal is not None:
            raise Stopped("stopped", f"by {self.first_signal.name}", _NEXT_STEP)
        left = self.seconds_left()
        if left is not None and left <= self._margin:
            raise Stopped("stopped", "the time limit is near", _NEXT_STEP)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note SIGINT, SIGTERM and SIGUSR1 instead of dying of them, and restore the handlers afterwards.

        A second SIGINT falls through to Python's own handler: who presses Ctrl-C twice wants out at once.
        """
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        before = {number: signal.signal(number, self._note) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # Only a flag: a handler runs between any two bytecodes, also while a lock is held.
        if self.first_signal is None:
            self.first_signal = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
