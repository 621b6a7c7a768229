"""What SLURM says about tasks, and what that proves: one squeue call for all, sacct for what squeue has forgotten.

The controller is the truth about what runs. The accounting may lag behind it (the newest run of a requeued task may not
be there yet), so sacct counts only for tasks that an answering controller no longer knows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from bulkhaul.slurm.client import SlurmError, call, complaint
from bulkhaul.slurm.environment import TaskId

logger = logging.getLogger(__name__)

# Fixed columns; the reason is last because it may hold blanks.
_COLUMNS = "ArrayJobID:20,ArrayTaskID:20,JobID:20,State:20,RestartCnt:12,Cluster:64,Reason:64"
_SACCT_FIELDS = "JobID,State,Cluster"
_REST = 4  # times as long as a call took nothing is asked

FINAL_STATES = frozenset(
    ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL", "DEADLINE"]
)
# With a higher restart count these show that the earlier run is over. COMPLETING is not among them: a requeued task
# shows the new count while its old processes still have KillWait seconds to live. REVOKED runs on another cluster.
_LATER_RUN_STATES = FINAL_STATES | frozenset(
    ["PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD"]
)


@dataclass(frozen=True, slots=True)
class TaskState:
    """One task as SLURM shows it; `restart_count` is None where the source does not tell (sacct)."""

    name: str
    cluster: str
    state: str
    restart_count: int | None = None
    reason: str = ""


def parse_squeue(text: str) -> Iterator[TaskState]:
    """The tasks in squeue's answer to `_COLUMNS`; lines of another form (headers of other clusters) are passed over."""
    for line in text.splitlines():
        words = line.split(maxsplit=6)
        if len(words) < 6 or not words[4].isdecimal():
            continue
        array_job_id, array_task, job_id, state, restarts, cluster = words[:6]
        name = f"{array_job_id}_{array_task}" if array_task.isdecimal() else job_id
        yield TaskState(name, cluster, state, int(restarts), words[6].strip() if len(words) > 6 else "")


def parse_sacct(text: str) -> Iterator[TaskState]:
    """The tasks in the answer of `sacct --parsable2` to `_SACCT_FIELDS`."""
    for line in text.splitlines():
        name, _, rest = line.partition("|")
        state, _, cluster = rest.partition("|")
        if state and cluster:
            yield TaskState(name, cluster, state.split()[0])  # "CANCELLED by 1000"


def proves_end(state: TaskState, task: TaskId) -> bool:
    """Whether `state` shows that the run `task` is over: a final state, or a later run of the same task.

    Everything else (pending, completing, revoked, another cluster, words of a newer SLURM) proves nothing.
    """
    if not task.cluster or (state.cluster, state.name) != (task.cluster, task.name):
        return False
    if state.restart_count is not None and state.restart_count > task.restart_count:
        return state.state in _LATER_RUN_STATES
    if state.restart_count is not None and state.restart_count < task.restart_count:
        return False  # a controller that lost its newest state: it does not speak of this run
    return state.state in FINAL_STATES


def read_states(tasks: Collection[TaskId]) -> Mapping[str, TaskState]:
    """The states of `tasks` by name, from one squeue call and, for those that it no longer knows, one of sacct.

    Raises:
        SlurmError: the controller does not answer.
    """
    if not tasks:
        return {}
    known = {state.name: state for state in _ask_squeue({task.submission for task in tasks})}
    forgotten = {task.name for task in tasks} - known.keys()
    if forgotten:
        known |= {state.name: state for state in _ask_sacct(forgotten)}
    return known


class TaskStates:
    """Answers `gone` for many tasks at the cost of one SLURM call in `max_age` seconds; safe from many threads.

    Of a SLURM that is slow or silent it asks more seldom: who asks spends at most a fifth of the time on waiting.
    """

    def __init__(self, *, max_age: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._gone: set[TaskId] = set()
        self._doubtful: set[TaskId] = set()
        self._states: Mapping[str, TaskState] = {}
        self._asked: frozenset[str] = frozenset()
        self._answered = False
        self._read_at: float | None = None
        self._age = max_age

    def gone(self, task: TaskId) -> bool:
        """True only when SLURM proves that this run of the task is over; an end once proven stays proven."""
        with self._lock:
            if not task.cluster or task in self._gone:
                return task in self._gone
            self._doubtful.add(task)
            if not self._is_fresh(task):
                self._read()
            self._judge()
            return task in self._gone

    def _is_fresh(self, task: TaskId) -> bool:
        if self._read_at is None or self._clock() - self._read_at >= self._age:
            return False
        # A controller that is down makes each call wait for seconds, so its silence is remembered as well.
        return not self._answered or task.submission in self._asked

    def _read(self) -> None:
        began = self._clock()
        try:
            self._states = read_states(self._doubtful)
            self._answered = True
        except SlurmError as error:
            logger.debug("SLURM proves nothing now: %s", error)
            self._states, self._answered = {}, False
        self._asked = frozenset(task.submission for task in self._doubtful)
        self._read_at = self._clock()
        # Who waits for SLURM looks at no heartbeat meanwhile, and after a long gap an observation begins anew: with
        # 15 s of waiting in each 25 s nobody ever saw the silence of an owner whose lease was 12 to 45 s.
        self._age = max(self._max_age, _REST * (self._read_at - began))

    def _judge(self) -> None:
        ended = {task for task in self._doubtful if task.name in self._states}
        ended = {task for task in ended if proves_end(self._states[task.name], task)}
        self._gone |= ended
        self._doubtful -= ended


def requeue(task: TaskId) -> bool:
    """Have SLURM start exactly this array task again; it ends our processes (SIGTERM) at once, so exit right away.

    False, and nothing changes, when the task is no longer to run: `scontrol requeue` would revive a cancelled task.

    Raises:
        SlurmError: SLURM refuses (`--no-requeue`) or does not answer.
    """
    state = read_states([task]).get(task.name)
    if state is None or not _may_run_again(state, task):
        return False
    done = call(["scontrol", "requeue", task.name])
    if done.code != 0:
        raise SlurmError(f"SLURM task {task.name}", f"not requeued: {complaint(done.stderr)}", "submit the array again")
    return True


def _may_run_again(state: TaskState, task: TaskId) -> bool:
    if (state.cluster, state.restart_count) != (task.cluster, task.restart_count):
        return False
    # What SLURM is ending is COMPLETING; only the reason tells the time limit from scancel.
    return state.state == "RUNNING" or (state.state == "COMPLETING" and state.reason == "TimeLimit")


def _ask_squeue(submissions: Collection[str]) -> list[TaskState]:
    ids = ",".join(sorted(submissions))
    answer = call(["squeue", "--all", "--noheader", "--array", "--states=all", f"--jobs={ids}", f"--Format={_COLUMNS}"])
    # For a single id that the controller has forgotten squeue fails, for several it leaves them out.
    if answer.code != 0 and "Invalid job id" not in answer.stderr:
        raise SlurmError("squeue", complaint(answer.stderr), "try again when SLURM's controller answers")
    return list(parse_squeue(answer.stdout))


def _ask_sacct(names: Collection[str]) -> list[TaskState]:
    ids = ",".join(sorted(names))
    arguments = ["sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={ids}", f"--format={_SACCT_FIELDS}"]
    try:
        answer = call(arguments)
    except SlurmError as error:
        logger.debug("no accounting: %s", error)
        return []
    if answer.code != 0:  # most often: "Slurm accounting storage is disabled"
        logger.debug("no accounting: %s", complaint(answer.stderr))
    return list(parse_sacct(answer.stdout)) if answer.code == 0 else []
