"""What a process knows of the SLURM task around it: its name, its share of the array, its end and its restarts."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from bulkhaul.slurm.client import SlurmError, call

logger = logging.getLogger(__name__)

EXIT_STOPPED = 75
REQUEUE_WINDOW = 120.0
"""Seconds before the time limit in which a worker that stopped by itself did so because of the limit."""
BARREN_RESTARTS = 3
"""Restarts after which a task that moved nothing is not requeued again."""


@dataclass(frozen=True, slots=True)
class TaskId:
    """One run of one SLURM job or array task; a requeue keeps all but `restart_count`."""

    cluster: str
    job_id: str
    array_job_id: str | None = None
    array_task: int | None = None
    restart_count: int = 0

    @property
    def name(self) -> str:
        """What SLURM's programs take for exactly this task: the last task's plain job id names its whole array."""
        return self.job_id if self.array_task is None else f"{self.array_job_id}_{self.array_task}"

    @property
    def submission(self) -> str:
        """The id that `sbatch` printed: the array's, or the job's own."""
        return self.array_job_id or self.job_id


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a common work that falls to one of `count` tasks: number `index`, from 0."""

    index: int = 0
    count: int = 1

    @property
    def offset(self) -> float:
        """Where in the common work this task begins, 0.0 to below 1.0."""
        return self.index / self.count


def current_task(environ: Mapping[str, str] = os.environ) -> TaskId | None:
    """The SLURM task that this process belongs to; None outside SLURM."""
    job_id = environ.get("SLURM_JOB_ID", "")
    if not job_id.isdecimal():
        return None
    array_job_id, array_task = environ.get("SLURM_ARRAY_JOB_ID"), _number(environ, "SLURM_ARRAY_TASK_ID")
    in_array = array_job_id is not None and array_task is not None
    return TaskId(
        cluster=environ.get("SLURM_CLUSTER_NAME", ""),
        job_id=job_id,
        array_job_id=array_job_id if in_array else None,
        array_task=array_task if in_array else None,
        restart_count=_number(environ, "SLURM_RESTART_COUNT") or 0,  # unset in the first run
    )


def current_share(environ: Mapping[str, str] = os.environ) -> Share:
    """This task's share by its place in the array; the whole outside one."""
    task, count = _number(environ, "SLURM_ARRAY_TASK_ID"), _number(environ, "SLURM_ARRAY_TASK_COUNT")
    if task is None or not count:
        return Share()
    # `--array=10-40:10` has tasks 10, 20, 30, 40. In an irregular one (`1,5,6`) no task knows its place: all take all.
    first, step = _number(environ, "SLURM_ARRAY_TASK_MIN") or 0, _number(environ, "SLURM_ARRAY_TASK_STEP") or 1
    if (_number(environ, "SLURM_ARRAY_TASK_MAX") or first) - first != (count - 1) * step:
        return Share()
    return Share(index=(task - first) // step % count, count=count)


def deadline(task: TaskId) -> datetime | None:
    """When SLURM will end this task; None when there is no limit or SLURM does not say."""
    # In seconds since 1970: the local time that squeue prints otherwise is ambiguous for one hour in autumn.
    arguments = ["env", "SLURM_TIME_FORMAT=%s", "squeue", "--noheader", "--format=%e", f"--jobs={task.name}"]
    try:
        answer = call(arguments)
    except SlurmError as error:
        logger.debug("no deadline: %s", error)
        return None
    text = answer.stdout.strip()
    if answer.code != 0 or not text.isdecimal():
        logger.debug("no deadline for %s: code %d, %r", task.name, answer.code, text or answer.stderr)
        return None
    return datetime.fromtimestamp(int(text), UTC)


def should_requeue(
    *,
    exit_code: int,
    first_signal: signal.Signals | None,
    seconds_left: float | None,
    restart_count: int,
    progressed: bool,
) -> bool:
    """Whether a worker that is about to exit should have SLURM start its task again.

    Only when the time limit stopped it with work left: the time signal (USR1) came first, or it stopped by itself near
    the limit. A bare SIGTERM is scancel or preemption, and scancel must cancel. A task that moves nothing is given up
    after `BARREN_RESTARTS`, so that a time limit too short for any progress does not burn hours for ever.
    """
    if exit_code != EXIT_STOPPED or (not progressed and restart_count >= BARREN_RESTARTS):
        return False
    if first_signal is not None:
        return first_signal is signal.SIGUSR1
    return seconds_left is not None and seconds_left < REQUEUE_WINDOW


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None
