"""Eight workers in processes of their own, one joblist, and a server that refuses what comes faster than R a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import NamedTuple

from bulkhaul.joblist.heartbeat import LeaseTimes
from e2e.lab import make_lab
from faults.figure import Fact, Figure
from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3
from servers.throttle import Throttle

CLAIM = "throttled server at R requests/s"
USUAL = 3

RATES = (60, 200, 400)
WORKERS = 8
SECONDS = 90.0
FOUND = 30.0
"""Seconds that the workers have to find the rate, before refusals are counted."""

_LONGEST_START = 30.0  # seconds; a request that waits longer counts as hanging

LEAST_RATE, MOST_REFUSED, LEAST_FAIRNESS = 0.9, 0.1, 0.95


class Arrival(NamedTuple):
    """One request as the server saw it: when, by whose key, taken or refused, a file or not."""

    moment: float
    signer: str
    taken: bool
    file: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the workers made of a rate while all of them worked; shares of 1."""

    rate: float
    seconds: float
    goodput: float
    refused: float
    fairness: float

    @property
    def ok(self) -> bool:
        return (
            self.goodput >= LEAST_RATE
            and self.refused <= MOST_REFUSED
            and self.fairness >= LEAST_FAIRNESS
            and self.seconds > 0
        )

    def facts(self) -> dict[str, Fact]:
        shares = {"% of R": self.goodput, "% refused after 30 s": self.refused}
        numbers: dict[str, Fact] = {name: round(100 * share, 1) for name, share in shares.items()}
        numbers |= {"Jain's index": round(self.fairness, 3), "seconds in which all worked": round(self.seconds, 1)}
        return {f"R = {self.rate:g}: {name}": number for name, number in numbers.items()}


class Course:
    """A fault for the stub's script: refuses what is above `rate`, and notes all that came.

    The first files wait until all `workers` have come: they meet the limit together, however slowly each starts.
    """

    def __init__(self, rate: float, *, workers: int) -> None:
        self._throttle = Throttle(rate)
        self._workers = workers
        self._lock = threading.Lock()
        self._seen: list[Arrival] = []
        self._come: set[str] = set()
        self._together = threading.Event()

    def __call__(self, request: Request, serve: Callable[[], Answer]) -> Answer:
        # A Zarr's metadata come after the proof of its chunks, in which a worker sends nothing.
        file = request.operation == "PutObject" and "/c/" in request.key
        if file and not self._together.is_set():
            self._wait(request.access_key)
        answer = self._throttle(request, serve)
        with self._lock:
            self._seen.append(Arrival(time.monotonic(), request.access_key, answer.status != 503, file))
        return answer

    def _wait(self, signer: str) -> None:
        with self._lock:
            self._come.add(signer)
            if len(self._come) == self._workers:
                self._together.set()
        self._together.wait(_LONGEST_START)

    @property
    def seen(self) -> Sequence[Arrival]:
        with self._lock:
            return list(self._seen)


def judge(seen: Sequence[Arrival], *, rate: float, workers: int, found: float = FOUND) -> Verdict:
    """Judge the stretch from the last worker's first file to the first worker's last; goodput is files that arrived."""
    files: dict[str, list[float]] = {}
    for arrival in seen:
        if arrival.taken and arrival.file:
            files.setdefault(arrival.signer, []).append(arrival.moment)
    start = max((min(moments) for moments in files.values()), default=0.0)
    end = min((max(moments) for moments in files.values()), default=0.0)
    seconds = end - start
    if len(files) < workers or seconds <= found:
        return Verdict(rate, min(seconds, 0.0), 0.0, 1.0, 0.0)
    shares = [sum(start <= moment < end for moment in moments) for moments in files.values()]
    late = [arrival.taken for arrival in seen if start + found <= arrival.moment < end]
    fairness = sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
    return Verdict(rate, seconds, sum(shares) / seconds / rate, late.count(False) / max(1, len(late)), fairness)


def course_of(
    folder: Path,
    *,
    rate: float,
    seconds: float,
    lease: LeaseTimes,
    workers: int = WORKERS,
    arguments: Callable[[int], Sequence[str]] = lambda _number: (),
) -> Sequence[Arrival]:
    """Let `workers` send one dataset each, `seconds` worth of files at their part of `rate`; `arguments` are of each.

    Raises:
        AssertionError: a worker ended with an error, or a job is not in `success`.
    """
    course = Course(rate, workers=workers)
    with StubS3() as stub:
        stub.store.make_bucket("bucket")
        stub.script.plan("*", course, times=10**9)
        times = {"BULKHAUL_LEASE_TTL": f"{lease.ttl:g}", "BULKHAUL_HEARTBEAT": f"{lease.heartbeat:g}"}
        lab = make_lab(folder, bucket="bucket", env={**stub.environment(stub.tokens.issue(None)), **times})
        try:
            lab.fill(plates=workers, chunks=int(seconds * rate / workers))
            tokens = [stub.tokens.issue(None) for _ in range(workers)]
            running = [lab.worker(*arguments(number), **stub.environment(token)) for number, token in enumerate(tokens)]
            for worker in running:
                said, _ = worker.communicate(timeout=20 * seconds + 120)
                assert worker.returncode == 0, said
            assert set(lab.statuses().values()) == {"success"}
        finally:
            lab.close()
    return course.seen


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """Each trial is one rate, in turn."""
    verdicts = []
    for number in range(amount):
        rate = RATES[number % len(RATES)]
        (below := folder / str(number)).mkdir()
        seen = course_of(below, rate=rate, seconds=SECONDS, lease=LeaseTimes())
        verdicts.append(judge(seen, rate=rate, workers=WORKERS))
        print(verdicts[-1], flush=True)
    worst: dict[float, Verdict] = {}
    for verdict in verdicts:
        if verdict.fairness < worst.get(verdict.rate, Verdict(0, 0, 0, 0, inf)).fairness:
            worst[verdict.rate] = verdict
    facts = {name: fact for verdict in worst.values() for name, fact in verdict.facts().items()}
    return Figure(CLAIM, amount, sum(not verdict.ok for verdict in verdicts), seed, facts)
