"""Scripted faults: what happens to the next requests of an operation; and the log of what came."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from servers.stub.message import Answer, Request, error, tag, xml

Act = Callable[[Request, Callable[[], Answer]], Answer]
"""A fault: gets the request and the way to serve it, gives what goes back."""


def refuse(status: int, code: str) -> Act:
    """Answer with S3's error `code`; nothing is done."""
    return lambda _request, _serve: error(status, code)


def slow_down() -> Act:
    """503 SlowDown; nothing is done."""
    return refuse(503, "SlowDown")


def reset() -> Act:
    """Drop the connection; nothing is done."""
    return lambda _request, _serve: Answer(cut=True)


def lose_answer() -> Act:
    """Do what was asked, then drop the connection."""

    def act(_request: Request, serve: Callable[[], Answer]) -> Answer:
        serve()
        return Answer(cut=True)

    return act


def error_in_200(code: str = "InternalError", *, committed: bool = False) -> Act:
    """Status 200 with an error document, as CompleteMultipartUpload does; done or not as `committed` says."""

    def act(_request: Request, serve: Callable[[], Answer]) -> Answer:
        if committed:
            serve()
        return xml("Error", tag("Code", code), tag("Message", "scripted in a 200"))

    return act


@dataclass(slots=True)
class _Planned:
    operation: str
    act: Act
    left: int
    key: str | None


class Script:
    """Faults waiting for their requests, in the order in which they were planned; safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        self.met = 0  # how many requests have met a fault so far
        self.closing = threading.Event()

    def plan(self, operation: str, act: Act, *, times: int = 1, key: str | None = None) -> None:
        """The next `times` requests of `operation` (of `key`, where given; `*`: any operation) meet `act`."""
        with self._lock:
            self._planned.append(_Planned(operation, act, times, key))

    def hang(self, seconds: float, *, then_serve: bool = True) -> Act:
        """Answer only after `seconds`, or when the stub is stopped."""

        def act(_request: Request, serve: Callable[[], Answer]) -> Answer:
            self.closing.wait(seconds)
            return serve() if then_serve and not self.closing.is_set() else Answer(cut=True)

        return act

    def clear(self) -> None:
        """Forget what is still planned."""
        with self._lock:
            self._planned.clear()

    def take(self, request: Request) -> Act | None:
        """The fault that this request meets, counted down."""
        with self._lock:
            for planned in self._planned:
                fits = planned.operation in ("*", request.operation) and planned.key in (None, request.key)
                if fits and planned.left > 0:
                    planned.left -= 1
                    self.met += 1
                    return planned.act
        return None


@dataclass(frozen=True, slots=True)
class Logged:
    """One request that came: what it was, who signed it, how it was answered (0: not at all)."""

    operation: str
    bucket: str
    key: str
    status: int
    access_key: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    size: int


class RequestLog:
    """All requests in the order of their answers."""

    def __init__(self) -> None:
        self._entries: list[Logged] = []

    def add(self, request: Request, answer: Answer) -> None:
        status = 0 if answer.cut else answer.status
        self._entries.append(
            Logged(
                request.operation,
                request.bucket,
                request.key,
                status,
                request.access_key,
                dict(request.headers),
                request.query,
                len(request.body),
            )
        )

    def clear(self) -> None:
        """Forget what came so far."""
        self._entries = []

    @property
    def entries(self) -> list[Logged]:
        return list(self._entries)

    def counts(self) -> Counter[str]:
        """How many requests of each operation came."""
        return Counter(entry.operation for entry in self._entries)

    def statuses(self, operation: str) -> list[int]:
        """How the requests of `operation` were answered, in order."""
        return [entry.status for entry in self._entries if entry.operation == operation]
