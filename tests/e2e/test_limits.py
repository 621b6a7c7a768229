"""Limits of a whole joblist, kept by workers in processes of their own that share nothing but its folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.lab import Lab, make_lab, wait_until
from e2e.turnstile import is_probe
from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3
from servers.throttle import Throttle

LIMIT = 40
# News half a second apart; who writes none for four seconds is dead.
TIMES = {"BULKHAUL_LEASE_TTL": "12", "BULKHAUL_HEARTBEAT": "1"}


class Arrivals:
    """When requests for datasets came, by the key that signed them: one a worker."""

    def __init__(self, stub: StubS3, act: Callable[[Request, Callable[[], Answer]], Answer] | None = None) -> None:
        self._act = act or (lambda _request, serve: serve())
        self._lock = threading.Lock()
        self._seen: list[tuple[float, str]] = []
        self._files: set[str] = set()
        stub.script.plan("*", self._note, times=10**9)

    def _note(self, request: Request, serve: Callable[[], Answer]) -> Answer:
        with self._lock:
            self._seen.append((time.monotonic(), request.access_key))
            if request.operation == "PutObject" and not is_probe(request.key):
                self._files.add(request.access_key)
        return self._act(request, serve)

    def sends(self, key: str) -> bool:
        return key in self._files

    def count(self, start: float, end: float, key: str | None = None) -> int:
        with self._lock:
            return sum(start <= moment < end and key in (None, signer) for moment, signer in self._seen)

    def last(self) -> float:
        with self._lock:
            return self._seen[-1][0]


@pytest.fixture
def stub() -> Iterator[StubS3]:
    with StubS3() as stub:
        stub.store.make_bucket("bucket")
        yield stub


@pytest.fixture
def lab(tmp_path: Path, stub: StubS3) -> Iterator[Lab]:
    lab = make_lab(tmp_path, bucket="bucket", env={**stub.environment(stub.tokens.issue(None)), **TIMES})
    yield lab
    lab.close()


@pytest.mark.slow
def test_workers_keep_a_joblists_limit_together_and_a_killed_one_gives_its_part_back(lab: Lab, stub: StubS3) -> None:
    arrivals = Arrivals(stub)
    lab.fill(plates=4, chunks=250)
    tokens = [stub.tokens.issue(None) for _ in range(2)]
    workers = [lab.worker("--joblist-max-requests", f"{LIMIT}/s", **stub.environment(token)) for token in tokens]
    killed, left = (token.access_key for token in tokens)
    wait_until(lambda: all(map(arrivals.sends, (killed, left))), what="both workers send")
    both = time.monotonic() + 1.5  # the second one has its part, the first has made room
    time.sleep(6.5)
    workers[0].kill()
    end = time.monotonic()
    said, _ = workers[1].communicate(timeout=100)
    assert workers[1].returncode == 0, said
    assert set(lab.statuses().values()) == {"success"}

    for key in (killed, left):
        assert 0.3 * LIMIT <= arrivals.count(both, end, key) / (end - both) <= 0.7 * LIMIT
    starts = [both + tenth / 10 for tenth in range(int(10 * (arrivals.last() - both - 3)))]
    assert max(arrivals.count(start, start + 3) for start in starts) <= 3 * LIMIT * 1.1
    assert max(arrivals.count(start, start + 3) for start in starts if start > end + 5) >= 3 * LIMIT * 0.8


@pytest.mark.slow
def test_workers_at_a_server_that_refuses_agree_on_its_rate(lab: Lab, stub: StubS3) -> None:
    throttle = Throttle(LIMIT)
    arrivals = Arrivals(stub, throttle)
    lab.fill(plates=4, chunks=250)
    tokens = [stub.tokens.issue(None) for _ in range(2)]
    workers = [lab.worker(**stub.environment(token)) for token in tokens]
    wait_until(lambda: all(arrivals.sends(token.access_key) for token in tokens), what="both workers send")
    start = time.monotonic() + 3
    for worker in workers:
        said, _ = worker.communicate(timeout=100)
        assert worker.returncode == 0, said
    end = throttle.taken[-1] - 2
    taken = sum(start <= moment < end for moment in throttle.taken)
    refused = sum(start <= moment < end for moment in throttle.refused)
    assert taken >= 0.85 * LIMIT * (end - start)
    assert refused <= 0.1 * taken
    assert not (lab.joblist / ".bulkhaul" / "rates").read_bytes().strip(b"\0"), "who goes home takes its line along"
