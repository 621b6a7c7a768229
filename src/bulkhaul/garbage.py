"""How often a process of ours looks for garbage that only Python's collector finds: seldom, and not at its end."""

from __future__ import annotations

import atexit
import gc

_ALLOCATIONS = 200_000


def collect_rarely() -> None:
    """Spare this process most collections; to be called before the large imports.

    Loading botocore and pydantic makes objects that live as long as the process: at Python's own 700 allocations
    looking through them again and again takes a tenth of a worker's start, and once more a tenth of a second at its
    end. Nothing here depends on the collector: files and threads are closed by their owners.
    """
    gc.set_threshold(_ALLOCATIONS, 20, 50)
    atexit.register(gc.freeze)
