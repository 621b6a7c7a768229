"""What the workers of one run have in common, and the account of what they did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.job import Owner
from simulation.prefixes import Prefixes
from simulation.store import Store

if TYPE_CHECKING:
    from simulation.worker import Worker


@dataclass(slots=True)
class Account:
    """What happened on one joblist."""

    ended: int = 0
    errors: int = 0
    released: int = 0
    lost_claims: int = 0
    missed: int = 0
    sent: int = 0
    duplicates: int = 0
    requeued: int = 0
    waits: int = 0
    before_waits: int = 0
    idle_seconds: float = 0.0
    idle_calls: Counter[str] = field(default_factory=Counter)
    taken_over: list[float] = field(default_factory=list)
    last_end: float = 0.0


@dataclass(frozen=True, slots=True)
class Site:
    """What all workers of a run have in common; `files` are those of each job that have not been sent yet."""

    store: Store
    prefixes: Prefixes
    times: LeaseTimes
    account: Account
    files: dict[str, int]
    gone: Callable[[Owner], bool]
    start_seconds: float = 1.0  # of a job, before its first byte: the first page of the listing, the walk
    workers: dict[str, Worker] = field(default_factory=dict)
