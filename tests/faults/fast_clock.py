"""Run a module on a machine whose clocks are fast: all of them, the monotonic ones too, and with them each wait.

Arguments: how many times as fast, the module, its arguments. libfaketime makes clocks fast but not sleeps, which then
end at a time of the other clock, hours later; so this is done one level below us in Python.
"""

from __future__ import annotations

import runpy
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_GETTIME, _SLEEP, _WAIT = time.clock_gettime, time.sleep, threading.Event.wait


def fast(clock: Callable[[], float], rate: float) -> Callable[[], float]:
    """`clock`, `rate` times as fast from now on."""
    start = clock()
    return lambda: start + rate * (clock() - start)


def hurry(rate: float) -> None:
    """Let this process live `rate` times as fast, as far as it can tell; before anything else is imported."""
    clocks = {which: fast(lambda which=which: _GETTIME(which), rate) for which in (time.CLOCK_BOOTTIME,)}
    time.clock_gettime = lambda which: clocks[which]()
    for name in ("monotonic", "perf_counter", "time"):
        setattr(time, name, fast(getattr(time, name), rate))
    time.sleep = lambda seconds: _SLEEP(seconds / rate)

    def wait(event: threading.Event, timeout: float | None = None) -> Any:
        return _WAIT(event, None if timeout is None else timeout / rate)

    threading.Event.wait = wait  # type: ignore[method-assign]


if __name__ == "__main__":
    hurry(float(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
