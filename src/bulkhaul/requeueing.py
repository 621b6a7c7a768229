"""The last thing that a step inside a SLURM task does: have its task started again when its time limit cut it off."""

from __future__ import annotations

from datetime import datetime

from bulkhaul.messages import Mark, Message, Say
from bulkhaul.slurm.client import SlurmError
from bulkhaul.slurm.environment import TaskId, should_requeue
from bulkhaul.slurm.query import requeue
from bulkhaul.stopping import StopRequest, utc_now


def goes_on_later(
    task: TaskId, *, exit_code: int, stop: StopRequest, limit: datetime | None, progressed: bool, say: Say
) -> bool:
    """Requeue `task` if its own time limit (`limit`, not a person's deadline) stopped it; whether SLURM will.

    Nothing may follow: SLURM answers a requeue with SIGTERM at once.
    """
    wanted = should_requeue(
        exit_code=exit_code,
        first_signal=stop.first_signal,
        seconds_left=None if limit is None else (limit - utc_now()).total_seconds(),
        restart_count=task.restart_count,
        progressed=progressed,
    )
    try:
        return wanted and requeue(task)
    except SlurmError as error:
        # What was claimed has been given back all the same: another task or the next array goes on with it.
        say(Message(Mark.WARNING, f"not requeued: {error}"))
        return False
