"""A run of an array of workers on one joblist: node losses, freezes and time limits at times drawn from the seed."""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from dataclasses import dataclass

from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.job import Owner, Standing
from bulkhaul.slurm.environment import EXIT_STOPPED, should_requeue
from simulation.costs import Costs
from simulation.prefixes import LIMIT, Prefixes
from simulation.site import Account, Site
from simulation.store import Store
from simulation.worker import Wait, Worker
from simulation.world import Task, World

_NODE = 10  # workers
_QUEUE_SECONDS = 30.0  # until SLURM starts a task again
_SLURM_NOTICES = 300.0  # SLURM's default SlurmdTimeout: until a silent node counts as lost
_LOGNORMAL_MEAN = math.exp(0.5)


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is simulated; seconds. `slurm_tells` after a node's loss that its tasks are gone, if at all."""

    workers: int
    jobs: int
    seed: int
    files: int = 1_000
    prefixes: int = 10
    share: float = 0.9
    worker_rate: float = 400.0
    start_seconds: float = 1.0
    time_limit: float | None = None
    lost_nodes: int = 0
    frozen_nodes: int = 0
    freeze_seconds: float = 400.0
    slurm_tells: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The joblist after the last worker has gone home, which happened at `seconds`."""

    campaign: Campaign
    store: Store
    account: Account
    seconds: float

    @property
    def missing(self) -> list[str]:
        """The jobs that have not ended."""
        return [name for name in self.store.names if self.store.standing(name, _nobody)[0] is not Standing.ENDED]


def simulate(campaign: Campaign, costs: Costs) -> Outcome:
    """Let the workers work until the last has gone home.

    Raises:
        AssertionError: the claim protocol was broken.
    """
    run = _Run(campaign, costs)
    run.start()
    run.world.run()
    return Outcome(campaign, run.site.store, run.site.account, run.world.now)


class _Run:
    def __init__(self, campaign: Campaign, costs: Costs) -> None:
        self.campaign = campaign
        self.world = World()
        self.random = random.Random(campaign.seed)
        names = sorted(f"source__batch{number % 97:02}__plate{number:07}" for number in range(campaign.jobs))
        self.site = Site(
            store=Store(self.world, names, costs=costs, seed=campaign.seed + 1),
            prefixes=Prefixes(campaign.prefixes, share=campaign.share, most=campaign.worker_rate),
            times=LeaseTimes(),
            account=Account(),
            files={name: self._files() for name in names},
            gone=self._gone,
            start_seconds=campaign.start_seconds,
        )
        self._present: dict[int, Worker] = {}
        self._killed: dict[str, float] = {}

    def start(self) -> None:
        campaign = self.campaign
        for number in range(campaign.workers):
            self._start_task(number, after=self.random.uniform(0, 5.0))
        nodes = range(-(-campaign.workers // _NODE))
        chosen = self.random.sample(nodes, min(len(nodes), campaign.lost_nodes + campaign.frozen_nodes))
        for place, node in enumerate(chosen):
            fate = self._lose(node) if place < campaign.lost_nodes else self._freeze(node)
            self.world.start(fate, after=self.random.uniform(0.05, 0.95) * self._expected())

    def _files(self) -> int:
        # Plates differ: most are half the mean, a few ten times as large.
        drawn = self.random.lognormvariate(0.0, 1.0) / _LOGNORMAL_MEAN
        return max(1, round(drawn * self.campaign.files)) if self.campaign.files else 0

    def _expected(self) -> float:
        campaign = self.campaign
        rate = min(campaign.prefixes * campaign.share * LIMIT, campaign.workers * campaign.worker_rate)
        return sum(self.site.files.values()) / rate + campaign.jobs / campaign.workers * campaign.start_seconds

    def _start_task(self, number: int, *, after: float, restarts: int = 0) -> None:
        holder: list[Task] = []
        holder.append(self.world.start(self._task(number, holder, restarts), after=after))

    def _task(self, number: int, holder: list[Task], restarts: int) -> Wait:
        campaign = self.campaign
        while True:
            name = f"worker{number}-{restarts}"
            worker = Worker(
                self.site,
                name=name,
                offset=number / campaign.workers,
                limit=campaign.time_limit,
                seed=f"{campaign.seed} {name}",
            )
            worker.task = holder[0]
            self.site.workers[name] = self._present[number] = worker
            yield from worker.life()
            if not should_requeue(
                exit_code=EXIT_STOPPED if worker.stopped else 0,
                first_signal=None,
                seconds_left=worker.seconds_left(),
                restart_count=restarts,
                progressed=worker.progressed,
            ):
                return
            self.site.account.requeued += 1
            restarts += 1
            yield _QUEUE_SECONDS

    def _lose(self, node: int) -> Generator[float, None, None]:
        """The node stops; SLURM starts its tasks again elsewhere once it has noticed."""
        for number in self._of_node(node):
            worker = self._present[number]
            if worker.left or worker.task is None:
                continue
            worker.task.kill()
            worker.ends()
            self._killed[worker.owner.worker] = self.world.now
            restarts = int(worker.owner.worker.rpartition("-")[2])
            self._start_task(number, after=_SLURM_NOTICES + _QUEUE_SECONDS, restarts=restarts + 1)
        return
        yield

    def _freeze(self, node: int) -> Generator[float, None, None]:
        """The node stands still for a while, like a suspended machine, then goes on."""
        until = self.world.now + self.campaign.freeze_seconds
        for number in self._of_node(node):
            worker = self._present[number]
            if not worker.left and worker.task is not None:
                worker.frozen = (self.world.now, until)
                worker.task.frozen_until = until
        return
        yield

    def _of_node(self, node: int) -> list[int]:
        return [number for number in range(node * _NODE, (node + 1) * _NODE) if number in self._present]

    def _gone(self, owner: Owner) -> bool:
        """What SLURM proves of an owner."""
        tells, killed = self.campaign.slurm_tells, self._killed.get(owner.worker)
        return tells is not None and killed is not None and self.world.now >= killed + tells


def _nobody(_owner: Owner) -> bool:
    return False
