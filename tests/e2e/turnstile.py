"""A front of the real S3 server that holds requests back until the test has done what it wants to do meanwhile."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from e2e.lab import Lab, wait_until
from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3


def front_env(front: StubS3) -> dict[str, str]:
    """The environment of a worker that goes through `front`."""
    return front.environment(front.tokens.issue(None))


def granted_env(front: StubS3) -> dict[str, str]:
    """The environment of a user of the archive behind `front`, whose own keys only ask for grants."""
    return {
        **front_env(front),
        "BULKHAUL_CREDENTIALS": "access-grants",
        "BULKHAUL_ACCESS_GRANTS_ACCOUNT": front.grants.account,
    }


def is_probe(key: str) -> bool:
    """Whether the request belongs to what a worker makes sure of before it claims."""
    return ".bulkhaul-probe" in key


class Turnstile:
    """Holds the requests that `fits` names, from the one after `free` have passed, until `open` is called.

    After `open(lost=True)` they are never done and their connections are cut.
    """

    def __init__(self, front: StubS3, operation: str, *, fits: Callable[[Request], bool], free: int = 0) -> None:
        self._front = front
        self._fits = fits
        self._left = free
        self._changed = threading.Condition()
        self._opened = threading.Event()
        self._lost = False
        self.held = 0
        front.script.plan(operation, self._act, times=1_000_000)

    def wait(self, count: int = 1, *, seconds: float = 30.0) -> None:
        """Until `count` requests are held."""
        with self._changed:
            enough = self._changed.wait_for(lambda: self.held >= count, seconds)
        assert enough, f"{self.held} request(s) came to the turnstile, not {count}"

    def open(self, *, lost: bool = False) -> None:
        """Let everything pass."""
        self._lost = lost
        self._opened.set()

    def kill(self, worker: subprocess.Popen[str]) -> None:
        """Kill the worker while it is held: what was held is never done. Nothing of it is on its way afterwards."""
        worker.kill()
        worker.communicate(timeout=60)
        self.open(lost=True)
        self.leave()

    def leave(self) -> None:
        """Take the turnstile away when all requests of a worker that has ended are done or cut."""
        wait_until(lambda: not self._front.busy, what="the front has no client")
        self._front.script.clear()

    def _act(self, request: Request, serve: Callable[[], Answer]) -> Answer:
        if not self._fits(request):
            return serve()
        with self._changed:
            if self._left > 0:
                self._left -= 1
                return serve()
            if not self._opened.is_set():
                self.held += 1
                self._changed.notify_all()
        while not self._opened.wait(0.05):
            if self._front.script.closing.is_set():
                return Answer(cut=True)
        return Answer(cut=True) if self._lost else serve()


def amid_files(front: StubS3, *, free: int = 100) -> Turnstile:
    """A turnstile that holds small files back when `free` have passed."""
    return Turnstile(front, "PutObject", fits=lambda request: not is_probe(request.key), free=free)


@dataclass(slots=True)
class Held:
    """A worker that is held; `said` is there when it has ended."""

    worker: subprocess.Popen[str]
    said: str = ""


@contextmanager
def worker_held(
    lab: Lab, turnstile: Turnstile, *arguments: object, env: dict[str, str], requests: int = 1, expect: int = 0
) -> Iterator[Held]:
    """Run a worker, and the block while so many of its requests are held; it ends with `expect` when they may pass."""
    held = Held(lab.worker(*arguments, **env))
    turnstile.wait(requests)
    yield held
    turnstile.open()
    held.said, _ = held.worker.communicate(timeout=60)
    assert held.worker.returncode == expect, held.said
