"""Threads that work through a bounded queue, and stop together at the first fault that is not one file's own.

The producer waits while the queue is full or too many bytes are in flight, so memory stays level however long the plan
is. Threads (never processes: the fast engine hangs after a fork) are daemons: one that hangs in a request cannot keep a
stopped worker from ending.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from bulkhaul.errors import BulkhaulError

T = TypeVar("T")

_LOOK = 0.5  # seconds between two looks at the other lanes' faults
GRACE = 10.0
"""Seconds that requests in flight get to end after a stop."""


class Abandoned(BulkhaulError):
    """Another thread met a fault that ends the whole transfer; whoever sees this just goes home."""


class Halt:
    """The first fault that ends the transfer, shared by all lanes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.error: BaseException | None = None

    def set(self, error: BaseException) -> None:
        """Stop everything because of `error`; only the first one counts."""
        with self._lock:
            if self.error is None and not isinstance(error, Abandoned):
                self.error = error

    def check(self) -> None:
        """Return while nothing has failed.

        Raises:
            Abandoned: the transfer has ended; for threads of a lane.
        """
        if self.error is not None:
            raise Abandoned("transfer", "it has been stopped", "see the first error")


class Lane(Generic[T]):
    """One queue and its threads; `limit` says how many may work at once and may change at any time.

    `budget` bounds the bytes queued and in work; a single item above it goes alone. The producer asks `gate` while it
    waits.
    """

    def __init__(
        self,
        work: Callable[[T], None],
        *,
        halt: Halt,
        limit: Callable[[], int],
        queue: int,
        budget: int | None = None,
        gate: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = work
        self._gate = gate
        self._halt = halt
        self._limit = limit
        self._most_queued = queue
        self._budget = budget
        self._queue: deque[tuple[T, int]] = deque()
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._active = 0
        self._nbytes = 0
        self._closed = False

    def put(self, item: T, nbytes: int = 0) -> None:
        """Queue an item of `nbytes`; wait for room.

        Raises:
            BaseException: the fault that stopped the transfer, whatever it is.
        """
        with self._lock:
            while not self._has_room(nbytes):
                self._raise_if_halted()
                self._wait()
            self._raise_if_halted()
            self._queue.append((item, nbytes))
            self._nbytes += nbytes
            self._start_threads()
            self._ready.notify()

    def extend(self, items: Iterable[T]) -> None:
        """Queue items that weigh nothing, without waiting for room: their giver bounds them."""
        with self._lock:
            self._queue.extend((item, 0) for item in items)
            self._start_threads()
            self._wake()

    @property
    def pending(self) -> int:
        """How many items are queued or in work."""
        return len(self._queue) + self._active

    def limit_changed(self) -> None:
        """Look at the limit again: more may work now than when the last item came or ended."""
        with self._lock:
            self._start_threads()
            self._wake()

    def drain(self) -> None:
        """Wait until all that was queued is done.

        Raises:
            BaseException: the fault that stopped the transfer, whatever it is.
        """
        with self._lock:
            while self._queue or self._active:
                self._raise_if_halted()
                self._wait()
            self._raise_if_halted()

    def close(self, *, until: float | None = None) -> None:
        """Drop what is queued and let the threads end; requests in flight get `GRACE` seconds, or until that moment."""
        with self._lock:
            self._closed = True
            self._queue.clear()
            self._ready.notify_all()
        deadline = time.monotonic() + GRACE if until is None else until
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _wait(self) -> None:
        """Wait for a change, then look at the gate without the lock: threads that hang in requests never ask it."""
        self._room.wait(_LOOK)
        self._lock.release()
        try:
            self._gate()
        finally:
            self._lock.acquire()

    def _has_room(self, nbytes: int) -> bool:
        if len(self._queue) >= self._most_queued:
            return False
        return self._budget is None or not self._nbytes or self._nbytes + nbytes <= self._budget

    def _half_empty(self) -> bool:
        return 2 * len(self._queue) <= self._most_queued and (self._budget is None or 2 * self._nbytes <= self._budget)

    def _raise_if_halted(self) -> None:
        if self._halt.error is not None:
            raise self._halt.error

    def _wake(self) -> None:
        # No more than find work: where the limit has shrunk, the others would wake and sleep for each handful of items.
        self._ready.notify(max(0, min(len(self._queue), self._limit() - self._active)))

    def _start_threads(self) -> None:
        while not self._closed and self._active + len(self._queue) > len(self._threads) < self._limit():
            thread = threading.Thread(target=self._run, name=f"lane-{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the node's limit of threads
                if not self._threads:
                    raise
                return
            self._threads.append(thread)

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            item, nbytes = taken
            try:
                self._halt.check()
                self._work(item)
            except BaseException as error:  # noqa: BLE001 - a thread hands whatever ended it to the producer
                self._halt.set(error)
            finally:
                self._give_back(nbytes)

    def _take(self) -> tuple[T, int] | None:
        with self._lock:
            while not self._closed and (not self._queue or self._active >= self._limit()):
                self._ready.wait()
            if self._closed:
                return None
            self._active += 1
            return self._queue.popleft()

    def _give_back(self, nbytes: int) -> None:
        with self._lock:
            self._active -= 1
            self._nbytes -= nbytes
            # Woken for each item, the producer would do little else than wake and sleep.
            if self._half_empty() or not (self._queue or self._active):
                self._room.notify()
            if self._queue and self._active + 1 < self._limit():
                # The limit has grown while others slept, and while the producer waits for room nobody else sees it.
                self._start_threads()
                self._ready.notify()
