"""A look at something else, again and again, while a block runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EVERY = 0.02  # seconds between two looks


@contextmanager
def watching(look: Callable[[], bool]) -> Iterator[None]:
    """Call `look` in a thread until it returns true, or the block ends."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY) and not look():
            pass

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Moment:
    """When something came to be true, in seconds from the beginning of the block; infinite if it never did."""

    def __init__(self) -> None:
        self.seconds = float("inf")


@contextmanager
def first_moment(happened: Callable[[], bool]) -> Iterator[Moment]:
    """Watch for the moment in which `happened` is true for the first time."""
    moment, begun = Moment(), time.perf_counter()

    def look() -> bool:
        if not happened():
            return False
        moment.seconds = time.perf_counter() - begun
        return True

    with watching(look):
        yield moment
