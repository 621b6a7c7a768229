"""Arrays of the checkout's own script on a real cluster: submitted, held amid their work, judged."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from e2e.lab import CHECKOUT, Lab, wait_until
from e2e.oracle import assert_plates_arrived, plain_client, remote_keys
from e2e.turnstile import is_probe
from servers.slurm import SlurmCluster
from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3

# What SLURM does to a task does not depend on the engine: each case has one of them.
obstore = pytest.mark.parametrize("engine", ["obstore"])
portable = pytest.mark.parametrize("engine", ["s3transfer"])

SCRIPT = "slurm/transfer_array.sh"
SCAN = 30.0
"""Seconds between two scans of a joblist."""
LONG = 90.0
"""A lease (seconds) that no test outlasts: who takes over before its end did so by SLURM's word."""


def configure(
    lab: Lab, front: StubS3, *, concurrency: int = 1, ttl: float = 3, heartbeat: float = 0.5, parts: str = ""
) -> dict[str, str]:
    """The environment of an array: settings from a file, keys from a credentials file, as on a site."""
    keys = front.tokens.issue(None)
    credentials = lab.folder / "credentials"
    credentials.write_text(
        f"[default]\naws_access_key_id = {keys.access_key}\naws_secret_access_key = {keys.secret_key}\n"
        f"aws_session_token = {keys.session_token}\n"
    )
    config = lab.folder / "site.toml"
    config.write_text(
        f'joblist = "{lab.joblist}"\nlease_ttl = {ttl}\nheartbeat = {heartbeat}\nmax_concurrency = {concurrency}\n'
        f'endpoint_url = "{front.url}"\nregion = "us-east-1"\nengine = "{lab.env["BULKHAUL_ENGINE"]}"\n'
        + (f'part_size = "{parts}"\nmultipart_threshold = "{parts}"\n' if parts else "")
    )
    return {
        "BULKHAUL_CONFIG": str(config),
        "BULKHAUL_PYTHON": lab.command("x")[0],
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": os.environ["PATH"],
    }


def submit(cluster: SlurmCluster, lab: Lab, env: dict[str, str], *options: str) -> str:
    """Submit the checkout's own array script, its logs into the lab."""
    return cluster.sbatch(
        "--cpus-per-task=1", "--mem=100", f"--output={lab.folder}/slurm-%A_%a.out", *options, SCRIPT,
        cwd=CHECKOUT, env=env,
    )  # fmt: skip


class Door:
    """Holds the small files of each plate back when `free` of it have passed, until its door is opened."""

    def __init__(self, front: StubS3, *, free: int = 20, operation: str = "PutObject") -> None:
        self._free = free
        self._closing = front.script.closing
        self._changed = threading.Condition()
        self._passed: Counter[str] = Counter()
        self._held: set[str] = set()
        self._open: set[str] = set()
        self._all = False
        self._cuts = 0
        front.script.plan(operation, self._act, times=1_000_000)

    def wait(self, count: int = 1, *, seconds: float = 60.0) -> None:
        """Until `count` plates are held."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self._held) >= count, seconds)
        assert enough, f"{sorted(self._held)} are held, not {count} plates"

    def open(self, *plates: str) -> None:
        """Let these plates pass, all without any name."""
        with self._changed:
            self._open.update(plates)
            self._all = self._all or not plates
            self._changed.notify_all()

    def cut(self) -> None:
        """Never do what is held, and let all others pass."""
        with self._changed:
            self._cuts += 1
            self._all = True
            self._changed.notify_all()

    def _act(self, request: Request, serve: Callable[[], Answer]) -> Answer:
        plate = next((word for word in request.key.split("/") if word.startswith("A0")), "")
        if not plate or is_probe(request.key):
            return serve()
        with self._changed:
            self._passed[plate] += 1
            cuts = self._cuts
            if self._passed[plate] > self._free and not self._is_open(plate):
                self._held.add(plate)
                self._changed.notify_all()
                while not self._is_open(plate) and not self._closing.is_set():
                    self._changed.wait(0.1)
            lost = self._closing.is_set() or self._cuts > cuts
        return Answer(cut=True) if lost else serve()

    def _is_open(self, plate: str) -> bool:
        return self._all or plate in self._open


def records(lab: Lab, job: str) -> dict[int, dict[str, Any]]:
    """The job's ledger by number, as it lies in the folder."""
    paths = (lab.joblist / ".bulkhaul" / "ledger").glob(f"{job}.*")
    return {int(path.suffix[1:]): json.loads(path.read_text()) for path in sorted(paths)}


def history(lab: Lab, job: str) -> list[str]:
    """What an unfinished job's ledger says: `claim`, or how one ended. It has no gap and no stranger's end."""
    ledger = records(lab, job)
    assert sorted(ledger) == list(range(1, len(ledger) + 1)), f"{job}: {sorted(ledger)}"
    for number, record in ledger.items():
        assert record["generation"] == number
        if record["kind"] == "end":
            assert record["owner"] == ledger[number - 1]["owner"]
            assert ledger[number - 1]["kind"] == "claim"
    return [record["end"] or "claim" for record in ledger.values()]


def holders(lab: Lab) -> dict[str, str]:
    """The jobs that are `ongoing`, by the array task that claimed them last."""
    found = {}
    for job, status in lab.statuses().items():
        ledger = records(lab, job)
        if status == "ongoing" and ledger:
            task = ledger[max(ledger)]["owner"]["slurm"]
            found[f"{task['array_job_id']}_{task['array_task']}"] = job
    return found


def plate_of(job: str) -> str:
    return job.rpartition("__")[2]


def generations(lab: Lab, job: str) -> int:
    """The number of the newest record."""
    return max(records(lab, job), default=0)


def await_take_over(lab: Lab, job: str, *, after: int, seconds: float = 60.0) -> float:
    """Wait for the claim that follows record `after`; the seconds that took."""
    began = time.monotonic()
    wait_until(lambda: generations(lab, job) > after, seconds=seconds, what=f"{job} is taken over")
    return time.monotonic() - began


def assert_all_done(lab: Lab, plates: list[str], **last: int) -> None:
    """Every job ended in `success`, S3 holds exactly the source, nothing is parked, each ledger ends without a gap.

    `last` are the numbers that the ledgers of some plates end with.
    """
    assert set(lab.statuses().values()) == {"success"}, logs(lab)
    assert_plates_arrived(lab, *plates)
    assert plain_client(lab.env).list_multipart_uploads(Bucket=lab.bucket).get("Uploads", []) == []
    for job in lab.statuses():
        ledger = records(lab, job)
        newest = max(ledger)
        assert set(ledger) == {1, newest - 1, newest}, f"{job}: {sorted(ledger)}"
        assert ledger[newest]["end"] == "success"
        # The first name is kept as a second link to the claim that succeeded.
        assert ledger[1] == ledger[newest - 1]
        assert (ledger[newest - 1]["kind"], ledger[newest - 1]["generation"]) == ("claim", newest - 1)
        assert ledger[newest]["owner"] == ledger[newest - 1]["owner"]
    assert {plate: generations(lab, f"source_8__J1__{plate}") for plate in last} == last, logs(lab)
    beats = [path.name for path in (lab.joblist / ".bulkhaul" / "heartbeat").iterdir()]
    assert beats == [], "a worker that has ended left its heartbeat"


def logs(lab: Lab) -> str:
    """What the tasks printed and the job files hold, for a failure's message."""
    paths = [*lab.folder.glob("slurm-*.out"), *lab.joblist.glob("*.txt")]
    return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(paths))


def arrived(lab: Lab) -> int:
    return len(remote_keys(plain_client(lab.env), lab.bucket))
