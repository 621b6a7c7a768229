"""What a job is, pure: statuses, owners, and the table that sets line 1 against the ledger.

Line 1 of a job file is both a projection of the ledger (workers write it) and an input (a person types it).
`standing_of` is that table, in one place; `docs/joblist-format.md` prints it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from bulkhaul.joblist.ledger import Record

Gate = Callable[[], None]
"""Called before each step; cheap; raises `Stopped`, `Interrupted` or `ClaimLost`."""


Version = tuple[int, int]
"""Inode and ctime in nanoseconds of a job file: a rewrite changes one of them, an edit in place the other."""


class Status(StrEnum):
    """The first line of a job file."""

    TODO = "todo"
    ONGOING = "ongoing"
    ERROR = "error"
    SUCCESS = "success"


WORDS = frozenset(str(status) for status in Status)


class Standing(StrEnum):
    """What line 1 and the ledger together say about a job."""

    FREE = "free"
    OWNED = "owned"
    EXPIRED = "expired"
    ENDED = "ended"
    PARKED = "parked"
    UNPROVEN = "unproven"
    INVALID = "invalid"


CLAIMABLE = frozenset({Standing.FREE, Standing.EXPIRED})
"""The standings of a job that a worker may try to claim."""


class Ledger(StrEnum):
    """What the newest record of a job says: the columns of the table."""

    EMPTY = "no record"
    ALIVE = "claim, lease alive"
    EXPIRED = "claim, lease expired"
    RELEASED = "end: released"
    ERROR = "end: error"
    SUCCESS = "end: success"


@dataclass(frozen=True, slots=True)
class SlurmTask:
    """The SLURM element that runs a worker; a requeue raises `restart_count`."""

    cluster: str
    job_id: str
    array_job_id: str | None = None
    array_task: int | None = None
    restart_count: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a claim: `worker` is unique for ever and a safe file name; the rest lets others judge its death."""

    worker: str
    token: str
    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    pid_start: int
    slurm: SlurmTask | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The owner that `dataclasses.asdict` wrote; fields of a newer version are ignored.

        Raises:
            TypeError, ValueError: it is of another shape.
        """
        # It becomes a path, of a file that is removed after a take-over: no record may point elsewhere.
        if not re.fullmatch(r"[\w.+@-]*\w[\w.+@-]*", values["worker"]):
            raise ValueError("a worker's name is a file's name")
        slurm = values.get("slurm")
        task = None if slurm is None else SlurmTask(**_known(SlurmTask, slurm))
        return cls(**{**_known(cls, values), "slurm": task})

    def __str__(self) -> str:
        words = [self.host]
        if self.slurm is not None:
            words.append(f"slurm_job_id={self.slurm.job_id}")
            if self.slurm.array_task is not None:
                words.append(f"array_task={self.slurm.array_task}")
        words.append(f"worker={self.worker}")
        return " ".join(words)


def _known(kind: type[SlurmTask] | type[Owner], values: Mapping[str, Any]) -> dict[str, Any]:
    return {each.name: values[each.name] for each in fields(kind) if each.name in values}


@dataclass(frozen=True, slots=True)
class JobView:
    """One job as it stands: line 1 as typed (`word`), what it counts as (`status`), and why.

    `status` is None for unproven and invalid jobs. `ought` is the word that line 1 should show, None to leave it alone.
    `source` and `target` are None when the job file cannot be read; `problem` then says why.
    `version` tells the bytes that were read from any later ones.
    `log` holds all kept lines after `Joblist.read`, and the last one after a scan.
    """

    name: str
    word: str
    status: Status | None
    standing: Standing
    ought: Status | None
    source: Path | None
    target: str | None
    record: Record | None
    log: tuple[str, ...] = ()
    problem: str = ""
    version: Version | None = None


# (standing, what line 1 ought to be) for each word and each state of the ledger; the rows of docs/joblist-format.md.
_TODO, _ONGOING, _ERROR, _SUCCESS = Status
_LEFT_ALONE = None
_TABLE: dict[str, dict[Ledger, tuple[Standing, Status | None]]] = {
    _TODO: {
        Ledger.EMPTY: (Standing.FREE, _LEFT_ALONE),
        Ledger.ALIVE: (Standing.OWNED, _LEFT_ALONE),
        Ledger.EXPIRED: (Standing.FREE, _LEFT_ALONE),
        Ledger.RELEASED: (Standing.FREE, _LEFT_ALONE),
        Ledger.ERROR: (Standing.FREE, _LEFT_ALONE),
        Ledger.SUCCESS: (Standing.FREE, _LEFT_ALONE),
    },
    _ONGOING: {
        Ledger.EMPTY: (Standing.UNPROVEN, _LEFT_ALONE),
        Ledger.ALIVE: (Standing.OWNED, _LEFT_ALONE),
        Ledger.EXPIRED: (Standing.EXPIRED, _LEFT_ALONE),
        Ledger.RELEASED: (Standing.FREE, _TODO),
        Ledger.ERROR: (Standing.ENDED, _ERROR),
        Ledger.SUCCESS: (Standing.ENDED, _SUCCESS),
    },
    _ERROR: {
        Ledger.EMPTY: (Standing.PARKED, _LEFT_ALONE),
        Ledger.ALIVE: (Standing.OWNED, _LEFT_ALONE),
        Ledger.EXPIRED: (Standing.PARKED, _LEFT_ALONE),
        # A released job is as good as never claimed: a person may park it.
        Ledger.RELEASED: (Standing.PARKED, _LEFT_ALONE),
        Ledger.ERROR: (Standing.ENDED, _LEFT_ALONE),
        Ledger.SUCCESS: (Standing.ENDED, _SUCCESS),
    },
    _SUCCESS: {
        Ledger.EMPTY: (Standing.UNPROVEN, _LEFT_ALONE),
        Ledger.ALIVE: (Standing.OWNED, _LEFT_ALONE),
        Ledger.EXPIRED: (Standing.PARKED, _LEFT_ALONE),
        Ledger.RELEASED: (Standing.UNPROVEN, _LEFT_ALONE),
        Ledger.ERROR: (Standing.ENDED, _ERROR),
        Ledger.SUCCESS: (Standing.ENDED, _LEFT_ALONE),
    },
    "done": {Ledger.EMPTY: (Standing.UNPROVEN, _LEFT_ALONE)},
}


def standing_of(word: str, ledger: Ledger) -> tuple[Standing, Status | None]:
    """The standing of a job whose line 1 is `word`, and what line 1 ought to be (None: leave it alone)."""
    return _TABLE.get(word, {}).get(ledger, (Standing.INVALID, _LEFT_ALONE))


def status_of(word: str, standing: Standing, ought: Status | None) -> Status | None:
    """What a job counts as; None when nothing proves it (unproven, invalid, a `success` that only a person typed)."""
    match standing:
        case Standing.FREE:
            return Status.TODO
        case Standing.OWNED | Standing.EXPIRED:
            return Status.ONGOING
        case Standing.ENDED:
            return ought or Status(word)
        case Standing.PARKED:
            return Status.ERROR if word == Status.ERROR else None
        case _:
            return None
