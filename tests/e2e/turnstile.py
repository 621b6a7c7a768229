"""A front of the real S3 server that holds requests back until the test has done what it wants to do meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3


def front_env(front: StubS3) -> dict[str, str]:
    """The environment of a worker that goes through `front`."""
    return front.environment(front.tokens.issue(None))


def is_probe(key: str) -> bool:
    """Whether the request belongs to what a worker makes sure of before it claims."""
    return ".bulkhaul-probe" in key


class Turnstile:
    """Holds the requests that `fits` names, from the one after `free` have passed, until `open` is called.

    After `open(lost=True)` those that were held are never done and their connections are cut.
    """

    def __init__(self, front: StubS3, operation: str, *, fits: Callable[[Request], bool], free: int = 0) -> None:
        self._fits = fits
        self._left = free
        self._lock = threading.Lock()
        self._reached = threading.Event()
        self._opened = threading.Event()
        self._closing = front.script.closing
        self._lost = False
        self.held = 0
        front.script.plan(operation, self._act, times=1_000_000)

    def wait(self, seconds: float = 30.0) -> None:
        """Until a request is held."""
        assert self._reached.wait(seconds), "no request came to the turnstile"

    def open(self, *, lost: bool = False) -> None:
        """Let everything pass."""
        self._lost = lost
        self._opened.set()

    def _act(self, request: Request, serve: Callable[[], Answer]) -> Answer:
        if self._opened.is_set() or not self._fits(request):
            return serve()
        with self._lock:
            if self._left > 0:
                self._left -= 1
                return serve()
            self.held += 1
        self._reached.set()
        while not self._opened.wait(0.05):
            if self._closing.is_set():
                return Answer(cut=True)
        return Answer(cut=True) if self._lost else serve()
