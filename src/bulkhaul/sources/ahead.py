"""Folders listed and entries examined ahead of the walk by a few threads, handed out in the walk's order.

Who is free takes what comes next in the order of names; the walk itself takes what it needs and nobody has begun. What
lies ahead is bounded, so a slow reader stops the threads, and only a folder that the walk has reached may be larger.
A thread reports no error: the walk does the same work again in its turn, and meets the error there.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bulkhaul.sources.room import RUN, Room

E = TypeVar("E")

_THREADS = 32  # with 2 ms a call some 13,000 files a second
_GRACE = 1.0  # seconds that calls in flight get to end after a stop


@dataclass(slots=True, eq=False)
class Folder(Generic[E]):
    """A folder on the walk's path or ahead of it: `names` last one first, without those of the pieces already begun.

    `place` is its path and `prefix` its name below the dataset, both with a `/` behind. `instead` is the entry that
    stands for a folder without names.
    """

    place: bytes
    prefix: bytes
    names: list[bytes]
    pieces: deque[Folder[E] | Run[E]] = field(default_factory=deque)
    instead: E | None = None
    reserved: int = 0
    ahead: bool = False
    busy: bool = False
    done: bool = False


@dataclass(slots=True, eq=False)
class Run(Generic[E]):
    """Some names of a folder and what was found under them."""

    folder: Folder[E]
    names: list[bytes]
    entries: list[E] = field(default_factory=list)
    ahead: bool = False
    busy: bool = False
    done: bool = False


class NoRoom(Exception):
    """A folder is too large to be listed ahead."""


class Ahead(Generic[E]):
    """Walks on from `stack`, the folders of the present path, until `enough` says so; what is left of it is for others.

    `list_folder(folder, room)` gives its names, last one first, or the entry that stands for it; it calls `room` with
    the number of names it has read so far and lets `NoRoom` pass. `examine` gives the entries of a run. Both are
    called by many threads.
    """

    def __init__(
        self,
        stack: list[Folder[E]],
        *,
        list_folder: Callable[[Folder[E], Callable[[int], None]], list[bytes] | E],
        examine: Callable[[Folder[E], list[bytes]], list[E]],
        enough: Callable[[], bool],
    ) -> None:
        self.stack = stack
        self._list_folder = list_folder
        self._examine = examine
        self._enough = enough
        self._lock = threading.RLock()  # a walk given up may be closed by the collector, in a thread that holds it
        self._work = threading.Condition(self._lock)
        self._finished = threading.Condition(self._lock)
        self._awaited: Folder[E] | Run[E] | None = None
        self._open: list[tuple[bytes, int, Folder[E]]] = []  # folders with names left, the next in order first
        self._serial = 0
        self._threads: list[threading.Thread] = []
        self._most_threads = _THREADS
        self._idle = 0
        self._closed = False
        self._room = Room()

    def entries(self) -> Iterator[E]:
        """Yield the entries in the order of their names; the threads end with it."""
        with self._lock:
            for folder in self.stack:
                self._offer(folder)
        try:
            while self.stack and not self._at_rest():
                piece = self._next_in_order(self.stack[-1])
                if piece is None:
                    self.stack.pop()
                elif isinstance(piece, Run):
                    yield from piece.entries
                elif piece.instead is not None:
                    yield piece.instead
                else:
                    self.stack.append(piece)
        finally:
            self._close()

    def _at_rest(self) -> bool:
        return self._enough() and not any(folder.pieces for folder in self.stack)

    def _next_in_order(self, folder: Folder[E]) -> Folder[E] | Run[E] | None:
        with self._lock:
            piece = self._begun_first(folder) if folder.pieces else self._begin(folder)
        if piece is None:
            return None
        if not piece.done:
            self._do(piece)
        with self._lock:
            folder.pieces.popleft()
            self._give_back(piece)
            self._wake()
        return piece

    def _begun_first(self, folder: Folder[E]) -> Folder[E] | Run[E]:
        piece = self._awaited = folder.pieces[0]
        while piece.busy:
            self._finished.wait()
        piece.busy = not piece.done
        return piece

    def _begin(self, folder: Folder[E]) -> Folder[E] | Run[E] | None:
        names = folder.names
        if not names:
            return None
        piece: Folder[E] | Run[E]
        if names[-1].endswith(b"/"):
            name = names.pop()
            piece = Folder(folder.place + name, folder.prefix + name, [])
        else:
            piece = Run(folder, [])
            while names and len(piece.names) < RUN and not names[-1].endswith(b"/"):
                piece.names.append(names.pop())
        piece.busy = True
        folder.pieces.append(piece)
        return piece

    def _do(self, piece: Folder[E] | Run[E]) -> None:
        if isinstance(piece, Run):
            piece.entries = self._examine(piece.folder, piece.names)
        else:
            found = self._list_folder(piece, lambda count: self._reserve(piece, count))
            if isinstance(found, list):
                piece.names = found
            else:
                piece.instead = found
        with self._lock:
            piece.done = True
            self._let_go(piece)
            if isinstance(piece, Folder):
                self._room.listed(len(piece.names))
                if piece.ahead and self._room.resize(piece.reserved, len(piece.names)):
                    piece.reserved = len(piece.names)
                self._offer(piece)
                self._wake()

    def _let_go(self, piece: Folder[E] | Run[E]) -> None:
        piece.busy = False
        if self._awaited is piece:
            self._finished.notify()

    def _offer(self, folder: Folder[E]) -> None:
        if folder.names:
            self._serial += 1
            heapq.heappush(self._open, (folder.prefix + folder.names[-1], self._serial, folder))

    # What comes next, and the room for it: all with the lock held.

    def _next_ahead(self) -> Folder[E] | None:
        while self._open and not self._open[0][2].names:
            heapq.heappop(self._open)
        if not self._open or self._closed or self._enough():
            return None
        folder = self._open[0][2]
        is_folder = folder.names[-1].endswith(b"/")
        return folder if (self._room.for_folder() if is_folder else self._room.for_run()) else None

    def _take(self) -> Folder[E] | Run[E] | None:
        folder = self._next_ahead()
        if folder is None:
            return None
        heapq.heappop(self._open)
        piece = self._begin(folder)
        self._offer(folder)
        if isinstance(piece, Folder):
            piece.reserved = self._room.take_folder()
            piece.ahead = True
        elif piece is not None:
            self._room.take_run(len(piece.names))
            piece.ahead = True
        return piece

    def _give_back(self, piece: Folder[E] | Run[E]) -> None:
        if not piece.ahead:
            return
        piece.ahead = False
        if isinstance(piece, Run):
            self._room.give_back_run(len(piece.names))
        else:
            self._room.give_back_folder(piece.reserved)

    def _reserve(self, folder: Folder[E], count: int) -> None:
        with self._lock:
            if not folder.ahead or count <= folder.reserved:
                return
            if self._closed or not self._room.resize(folder.reserved, count):
                raise NoRoom
            folder.reserved = count

    # The threads.

    def _wake(self) -> None:
        if self._next_ahead() is None:
            return
        if self._idle:
            self._work.notify()
        elif len(self._threads) < self._most_threads:
            thread = threading.Thread(target=self._scout, name=f"ahead-{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # a user's limit on this node: those that run will do, or the walk alone
                self._most_threads = len(self._threads)
            else:
                self._threads.append(thread)

    def _scout(self) -> None:
        while (piece := self._next_piece()) is not None:
            try:
                self._do(piece)
            except BaseException:  # noqa: BLE001 - the walk does it again in its turn, and meets the error there
                with self._lock:
                    self._give_back(piece)
                    self._let_go(piece)

    def _next_piece(self) -> Folder[E] | Run[E] | None:
        with self._lock:
            while not self._closed:
                if (piece := self._take()) is not None:
                    self._wake()
                    return piece
                self._idle += 1
                self._work.wait()
                self._idle -= 1
            return None

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            self._work.notify_all()
        deadline = time.monotonic() + _GRACE
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
