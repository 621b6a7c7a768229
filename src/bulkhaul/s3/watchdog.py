"""Requests that hang come to an end: one that takes too long in all, or hardly gets on, is cut off.

A read timeout starts anew with each byte that comes, and for sending there is none that fits all sizes: a server that
sends or takes a byte now and then would hold a request for good. The kernel counts what the other side has acknowledged
and sent, so one thread looks at the requests in flight once a second, and a request itself pays next to nothing.
Where the kernel does not tell (macOS, Linux before 4.6), the limit of the total time alone holds.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

# A connection of which less gets through in a read timeout is in the long pauses of TCP's own repetition: a new one
# does better. A busy link is no fault, so the bound lies far below what is left to each of many.
_LEAST_RATE = 1024  # bytes a second

# S3 says of CompleteMultipartUpload that it takes several minutes: ten read timeouts are ten minutes.
_READ_TIMEOUTS = 10
_MEAN_RATE = 16 * 1024  # bytes a second; a part of 16 MiB may take 17 minutes more

_LONGEST_LOOK = 1.0  # seconds between two looks
_LOOKS = 8  # in the shortest read timeout


class _Moved(NamedTuple):
    """What a connection has carried: bytes that the other side has, bytes that came, whether any are on their way."""

    acknowledged: int
    received: int
    outstanding: bool


_SIZE_OF_INFO = 148  # of Linux's tcp_info, up to tcpi_notsent_bytes


def _moved(sock: socket.socket) -> _Moved | None:
    """What the kernel tells of a connection; None where it does not, or the socket is in other hands just now."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE_OF_INFO)
    except OSError:
        return None
    if len(info) < _SIZE_OF_INFO:
        return None
    (unacknowledged,) = struct.unpack_from("I", info, 24)
    acknowledged, received = struct.unpack_from("QQ", info, 120)
    (unsent,) = struct.unpack_from("I", info, 144)
    return _Moved(acknowledged, received, bool(unacknowledged or unsent))


class Watch:
    """One request in flight that carries `size` bytes: what it may take, and how far it had come when it last got on.

    `patience` is the read timeout in seconds; the answer of one that `may_trickle` comes as slowly as it likes. `sock`
    is told as soon as there is one, and `sent` when all of the body has been given to it. `most` is the limit of the
    total time in seconds, `verdict` why the request was cut off.
    """

    def __init__(self, patience: float, *, size: int = 0, may_trickle: bool = False) -> None:
        self.patience = patience
        self.most = _READ_TIMEOUTS * patience + size / _MEAN_RATE
        self.sock: socket.socket | None = None
        self.sent = False
        self.verdict: str | None = None
        self._least = 1 if may_trickle else _LEAST_RATE * patience
        self._ends_at = time.monotonic() + self.most
        self._known: socket.socket | None = None
        self._last = _Moved(0, 0, outstanding=False)
        self._got_on_at = 0.0
        self._waits = False
        self._over = False
        self._ending = threading.Lock()

    def sees(self) -> bool:
        """Whether the kernel tells how far this request has come; else a timeout of the socket has to do."""
        return self.sock is not None and _moved(self.sock) is not None

    def judge(self, now: float) -> str | None:
        """Why this request has to end; None while it may go on."""
        if now >= self._ends_at:
            return f"not done after {self.most:.3g} s"
        sock = self.sock
        moved = None if sock is None else _moved(sock)
        if moved is None:
            return None
        if sock is not self._known or self._gets_on(moved):
            self._known, self._last, self._got_on_at = sock, moved, now
        elif now - self._got_on_at >= self.patience:
            few = f"less than {_LEAST_RATE * self.patience:.3g} bytes"
            return f"{'no answer' if moved == self._last else few} in {self.patience:g} s"
        return None

    def _gets_on(self, moved: _Moved) -> bool:
        waited, self._waits = self._waits, not moved.outstanding
        if self._waits and not (waited and self.sent):
            return True  # we read the source, or the server has just got all of it: its time begins
        amount = moved.acknowledged - self._last.acknowledged + moved.received - self._last.received
        return amount >= self._least

    def cut_off(self, verdict: str) -> None:
        """End the request, unless it has let go: whoever waits in its socket wakes."""
        with self._ending:
            if self._over:
                return
            self.verdict = verdict
            if self.sock is not None:
                with suppress(OSError):
                    # Not TLS's own method, which would change the object under the thread that uses it.
                    socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def let_go(self) -> None:
        """The answer is here: from now on the socket may serve another request, and is not cut off for this one."""
        with self._ending:
            self._over = True


class Watchdog:
    """The thread that looks at all requests of this process; it sleeps while there are none."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._busy = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, watch: Watch) -> Iterator[None]:
        """See to it that the request of the block comes to an end."""
        self._watches.add(watch)
        self._busy.set()
        if self._thread is None:
            self._start()
        try:
            yield
        finally:
            self._watches.discard(watch)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                with suppress(RuntimeError):  # the node's limit of threads: the next request tries again
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while True:
            self._busy.wait()
            self._busy.clear()
            while watches := self._watches.copy():
                time.sleep(min(_LONGEST_LOOK, min(watch.patience for watch in watches) / _LOOKS))
                now = time.monotonic()
                for watch in watches & self._watches:
                    if watch.verdict is None and (verdict := watch.judge(now)) is not None:
                        watch.cut_off(verdict)
