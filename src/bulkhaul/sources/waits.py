"""Whether a file system lets its callers wait, judged by a few calls in many.

A disk of this machine answers in some microseconds, a parallel file system in a millisecond: there threads help that
cost more than they gain here. Time alone does not tell: each call lets go of the interpreter and may wait for its way
back, far longer than for the disk. So a call that was long is compared with one that no server is asked for.
"""

from __future__ import annotations

import os
import time
from collections import deque

_LONG = 1e-4  # seconds a call: thirty times a warm local disk's, a fifth of a near parallel file system's
_WINDOW = 16  # calls
_MOST = 12
_FEW = 4
_EVERY = 64  # calls to one that is timed

clock = time.perf_counter


class Waits:
    """The last timed calls of one kind: which of them waited for the file system. Any thread may note one."""

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=_WINDOW)

    @property
    def gap(self) -> int:
        """How many calls to let pass before the next is timed: none until something is known."""
        return _EVERY - 1 if len(self._last) == _WINDOW else 0

    @property
    def slow(self) -> bool:
        """Nearly all of the last calls waited."""
        return self._last.count(True) >= _MOST

    @property
    def quick(self) -> bool:
        """Hardly any of the last calls waited."""
        return self._last.count(True) <= _FEW

    def note(self, begun: float, *, calls: int = 1) -> None:
        """Note work that took from `begun` (of `clock`) until now, and was as many calls."""
        seconds = (clock() - begun) / calls
        self._last.append(seconds > _LONG and seconds - _without_a_server() > _LONG)


def _without_a_server() -> float:
    begun = clock()
    os.lstat("/")
    return clock() - begun
