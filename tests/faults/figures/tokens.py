"""One large file through many short tokens: the real S3 server behind tokens that really end, by S3 Access Grants."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from e2e.lab import PREFIX, make_lab, plate_folder, plate_key
from e2e.turnstile import granted_env
from faults.figure import Fact, Figure
from servers.seaweed import ADMIN, Seaweed
from servers.stub.message import Answer, Request, error
from servers.stub_s3 import Front, StubS3

CLAIM = "short tokens"
USUAL = 3

LEAST_ROTATIONS = 30
_PART = 5 << 20
_AT_ONCE = 4  # parts of one file
_PAUSE = (1.0, 2.6)  # of a token's life
_BUCKET = "tokens"
_NAME = "objects.csv"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Tokens of `life` s that are said to live `said` s (None: the truth), and a file of `parts` that take longer.

    The provider fails for `outage` s from the moment on when half of the parts have come.
    """

    name: str
    life: float
    parts: int
    said: float | None = None
    outage: float = 0.0


FULL = (
    Scenario("the truth", 20.0, 96),
    Scenario("a lie", 20.0, 112, said=3600.0),
    Scenario("an outage of 25 s", 20.0, 96, outage=25.0),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the file; `said` is the worker's output."""

    scenario: Scenario
    rotations: int
    expired: int
    provider_calls: int
    provider_faults: int
    arrived: bool
    said: str

    @property
    def ok(self) -> bool:
        met = (self.scenario.said is None or self.expired > 0) and (
            not self.scenario.outage or self.provider_faults > 0
        )
        return self.arrived and met and self.rotations >= LEAST_ROTATIONS

    def facts(self) -> dict[str, Fact]:
        numbers = {
            "rotations": self.rotations,
            "ExpiredToken met": self.expired,
            "provider calls": self.provider_calls,
            "provider's faults": self.provider_faults,
            "failed files": int(not self.arrived),
        }
        return {f"{self.scenario.name}: {name}": number for name, number in numbers.items()}


class _Slow:
    """Faults of the front: parts take their time, and the provider fails for a while."""

    def __init__(self, scenario: Scenario, *, seed: int) -> None:
        self._scenario = scenario
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._come = 0
        self._down_until = 0.0
        self.closing = threading.Event()

    def part(self, _request: Request, serve: Callable[[], Answer]) -> Answer:
        with self._lock:
            self._come += 1
            if self._come == self._scenario.parts // 2:
                self._down_until = time.monotonic() + self._scenario.outage
            # Uneven, or all four would begin together and most tokens would go unused.
            pause = self._scenario.life * self._random.uniform(*_PAUSE)
        self.closing.wait(pause)
        return serve()

    def provider(self, _request: Request, serve: Callable[[], Answer]) -> Answer:
        with self._lock:
            down = time.monotonic() < self._down_until
        return error(500, "InternalError", "We encountered an internal error.") if down else serve()


def course(folder: Path, front: StubS3, scenario: Scenario, *, seed: int, bucket: str, real: Seaweed) -> Verdict:
    """Let one worker send one file through the scenario, and compare what S3 has with it."""
    front.grants.targets.append(f"s3://{bucket}/{PREFIX}/*")
    front.grants.life, front.grants.said = scenario.life, scenario.said
    slow = _Slow(scenario, seed=seed)
    key = f"{plate_key(batch='J1', plate='A0001')}/{_NAME}"
    front.script.plan("UploadPart", slow.part, times=10**9, key=key)
    front.script.plan("GetDataAccess", slow.provider, times=10**9)
    lab = make_lab(folder, bucket=bucket, env=granted_env(front))
    try:
        lab.fill(plates=1, chunks=3)
        source = plate_folder(lab.results, batch="J1", plate="A0001") / _NAME
        _write(source, parts=scenario.parts, seed=seed)
        worker = lab.worker(BULKHAUL_PART_SIZE="5MiB")
        expected = scenario.parts / _AT_ONCE * scenario.life * sum(_PAUSE) / 2 + scenario.outage
        said, _ = worker.communicate(timeout=3 * expected + 180)
    finally:
        slow.closing.set()
        lab.close()
    arrived = worker.returncode == 0 and set(lab.statuses().values()) == {"success"}
    arrived = arrived and _digest_in_s3(real, bucket, key) == _digest_of(source)
    return _verdict(scenario, front, key, arrived=arrived, said=said)


def _verdict(scenario: Scenario, front: StubS3, key: str, *, arrived: bool, said: str) -> Verdict:
    entries = front.log.entries
    parts = [entry for entry in entries if entry.operation == "UploadPart" and entry.key == key]
    asked = [entry.status for entry in entries if entry.operation == "GetDataAccess"]
    signers = {entry.access_key for entry in parts if entry.status == 200}
    return Verdict(
        scenario,
        rotations=max(0, len(signers) - 1),
        expired=sum(entry.status == 400 for entry in parts),
        provider_calls=len(asked),
        provider_faults=sum(status == 500 for status in asked),
        arrived=arrived,
        said=said,
    )


def _write(path: Path, *, parts: int, seed: int) -> None:
    content = random.Random(seed)
    with path.open("wb") as file:
        for _ in range(parts):
            file.write(content.randbytes(_PART))


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_in_s3(real: Seaweed, bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    for piece in real.client().get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """Each trial is one scenario, in turn; all run side by side, since each mostly waits."""
    scenarios = [FULL[number % len(FULL)] for number in range(amount)]
    with Seaweed(folder / "seaweed") as real:
        real.client().create_bucket(Bucket=_BUCKET)

        def run(number: int) -> Verdict:
            with StubS3(front=Front(real.url, ADMIN.access_key, ADMIN.secret_key)) as front:
                (below := folder / str(number)).mkdir()
                bucket = f"{_BUCKET}-{number}"
                real.client().create_bucket(Bucket=bucket)
                return course(below, front, scenarios[number], seed=seed + number, bucket=bucket, real=real)

        with ThreadPoolExecutor(max(1, amount)) as pool:
            verdicts = list(pool.map(run, range(amount)))
    facts: dict[str, Fact] = {}
    for verdict in verdicts:
        print(replace(verdict, said="" if verdict.ok else verdict.said), flush=True)
        facts |= _worst(facts, verdict.facts())
    return Figure(CLAIM, amount, sum(not verdict.ok for verdict in verdicts), seed, facts)


def _worst(known: Mapping[str, Fact], found: Mapping[str, Fact]) -> dict[str, Fact]:
    """Of a scenario that ran more than once: fewest rotations, most of all else."""
    return {
        name: (min if "rotations" in name else max)(fact, known.get(name, fact))  # type: ignore[type-var]
        for name, fact in found.items()
    }
