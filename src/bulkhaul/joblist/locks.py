"""The traffic light: a lock that keeps workers out of each other's way, and may fail to.

On some mounts flock succeeds without excluding anyone, on others it cannot be had at all. So no caller may rely on it:
work goes on whatever the answer, and the ledger decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import StrEnum
from functools import cache
from pathlib import Path

from filelock import Timeout, UnixFileLock


class Held(StrEnum):
    """What asking for a lock gave."""

    YES = "held"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"


Lock = Callable[[Path, float], AbstractContextManager[Held]]


@cache
def _lock_mode() -> int:
    # filelock sets a mode that it is given whatever the umask, and else leaves a lock to everybody where that is 0.
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        text = ""  # not every system has it
    umask = re.search(r"^Umask:\s*([0-7]+)$", text, re.MULTILINE)
    return 0o664 & ~int(umask[1], 8) if umask else 0o600


@contextmanager
def file_lock(path: Path, timeout: float) -> Iterator[Held]:
    """Hold the flock of `path` for the block, or not: the block runs in any case. `timeout` is in seconds."""
    # A soft lock needs its stale marker broken, which is a race of its own: rather none.
    lock = UnixFileLock(path, timeout=timeout, mode=_lock_mode(), fallback_to_soft=False)
    try:
        lock.acquire()
        held = Held.YES
    except Timeout:
        held = Held.BUSY
    except (OSError, NotImplementedError):
        held = Held.UNAVAILABLE
    try:
        yield held
    finally:
        if held is Held.YES:
            with suppress(OSError):
                lock.release()
