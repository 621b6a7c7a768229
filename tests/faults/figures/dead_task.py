"""How long the job of a dead SLURM task waits for an idle worker on another node, by the word of a real SLURM.

Each trial is an array task at work on node1 and one that waits on node2, under the times of real use. The first is held
at its first request and stopped (SIGSTOP), so that the second does not see it beat and go home; at a random moment of
that wait it dies. What is measured ends with the record of the take-over. The lease is 180 s: nobody's silence counts.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

from e2e.arrays import SCAN, Door, configure, generations, holders, submit
from e2e.lab import Lab, make_lab, wait_until
from e2e.oracle import assert_plates_arrived
from faults.figure import Fact, Figure
from servers.seaweed import ADMIN, Seaweed
from servers.slurm import SlurmCluster
from servers.stub_s3 import Front, StubS3

CLAIM = "reclaim of a dead worker: dead SLURM job"
USUAL = 64
KILLED, CRASHED = "killed", "node crashed"

_AT_ONCE = 8
_LONGEST_WAIT = 20.0  # seconds that an idle worker has waited at most when the other one dies


@dataclass(frozen=True, slots=True)
class Times:
    """Lease and heartbeat in seconds, and how long a trial waits for the take-over; as a site has them by default."""

    ttl: float = 180.0
    heartbeat: float = 20.0
    patience: float = SCAN + 10


@dataclass(slots=True)
class Trial:
    """One task that dies in one way; `seconds` from its death to the take-over of its job, None: not seen."""

    lab: Lab
    kind: str
    dies_after: float
    path: str = ""
    died: float = 0.0
    seconds: float | None = None

    @property
    def job(self) -> str:
        return next(iter(self.lab.statuses()))

    @property
    def in_session(self) -> int:
        return len(list((self.lab.joblist / ".bulkhaul" / "heartbeat").iterdir()))


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """Let `amount` tasks die, half of them with their node; a trial fails that takes longer than one scan."""
    random = Random(seed)
    seconds: dict[str, list[float | None]] = {KILLED: [], CRASHED: []}
    with (
        Seaweed(folder / "seaweed") as s3,
        SlurmCluster(cpus=_AT_ONCE) as cluster,
        StubS3(front=Front(s3.url, ADMIN.access_key, ADMIN.secret_key)) as front,
    ):
        for begin in range(0, amount, _AT_ONCE):
            kind = (KILLED, CRASHED)[begin // _AT_ONCE % 2]
            moments = [random.uniform(0, _LONGEST_WAIT) for _ in range(min(_AT_ONCE, amount - begin))]
            trials = [
                Trial(new_lab(folder / f"trial-{begin + number}", s3), kind, moment)
                for number, moment in enumerate(moments)
            ]
            run_together(trials, cluster, front, Times())
            seconds[kind] += [trial.seconds for trial in trials]
    return judge(seconds, seed=seed)


def judge(seconds: dict[str, list[float | None]], *, seed: int) -> Figure:
    """The figure of what was measured, in seconds by kind of death."""
    every = [value for values in seconds.values() for value in values]
    failures = sum(value is None or value > SCAN for value in every)
    facts: dict[str, Fact] = {"one scan, s": SCAN, "lease, s": Times().ttl, "heartbeat, s": Times().heartbeat}
    for kind, values in seconds.items():
        if seen := [value for value in values if value is not None]:
            facts |= {f"{kind}: p50, s": round(median(seen), 1), f"{kind}: p100, s": round(max(seen), 1)}
    return Figure(CLAIM, len(every), failures, seed, facts)


def new_lab(folder: Path, s3: Seaweed) -> Lab:
    """A lab with one small plate and a bucket of its own."""
    folder.mkdir()
    bucket = f"trial-{uuid.uuid4().hex[:16]}"
    s3.client().create_bucket(Bucket=bucket)
    lab = make_lab(folder, bucket=bucket, env={**s3.environment(ADMIN), "BULKHAUL_ENGINE": "obstore"})
    lab.fill(plates=1)
    return lab


def run_together(trials: Sequence[Trial], cluster: SlurmCluster, front: StubS3, times: Times) -> None:
    """Run trials of one kind at the same time, and see that all of their jobs are done in the end."""
    door = Door(front, free=0)
    victims = [_start(trial, cluster, front, times, node="node1") for trial in trials]
    for trial, victim in zip(trials, victims, strict=True):
        wait_until(lambda lab=trial.lab: bool(holders(lab)), what="the job is claimed")  # type: ignore[misc]
        for pid in cluster.processes(victim, program="04_transfer_plates"):
            os.kill(pid, signal.SIGSTOP)
    idle = [_start(trial, cluster, front, times, node="node2") for trial in trials]
    for trial in trials:
        wait_until(lambda trial=trial: trial.in_session == 2, what="the other worker is there")  # type: ignore[misc]
    _let_die(trials, victims, cluster, times)
    door.cut()
    for trial, task in zip(trials, idle, strict=True):
        if trial.seconds is not None:
            assert cluster.await_state(task) == "COMPLETED"
            assert set(trial.lab.statuses().values()) == {"success"}
            assert_plates_arrived(trial.lab, "A0001")
        cluster.run("scancel", task)
        trial.lab.close()
    front.script.clear()
    if trials[0].kind == CRASHED:
        cluster.boot("node1")


def _start(trial: Trial, cluster: SlurmCluster, front: StubS3, times: Times, *, node: str) -> str:
    env = configure(trial.lab, front, ttl=times.ttl, heartbeat=times.heartbeat)
    env["PATH"] = trial.path * (node == "node2") + env["PATH"]
    return submit(cluster, trial.lab, env, "--array=0", "--no-requeue", f"--nodelist={node}") + "_0"


def _let_die(trials: Sequence[Trial], victims: Sequence[str], cluster: SlurmCluster, times: Times) -> None:
    """End each victim at its moment (a node's all at the first one's) and note when its job is taken over."""
    began = time.monotonic()
    if trials[0].kind == CRASHED:
        time.sleep(trials[0].dies_after)
        died = time.monotonic()
        cluster.crash("node1")
        for trial in trials:
            trial.died = died
    end = began + max(trial.dies_after for trial in trials) + times.patience
    while any(trial.seconds is None for trial in trials) and time.monotonic() < end:
        for trial, victim in zip(trials, victims, strict=True):
            if not trial.died and time.monotonic() >= began + trial.dies_after:
                cluster.kill(victim)
                trial.died = time.monotonic()
            elif trial.died and trial.seconds is None and generations(trial.lab, trial.job) > 1:
                trial.seconds = time.monotonic() - trial.died
        time.sleep(0.1)
