"""One worker: claims the jobs of a joblist one by one until nothing is left or something says stop.

It makes sure of bucket and credentials before the first claim, knows the SLURM task around it, and leaves no job behind
that others cannot judge. What becomes of a single claim is decided in `attempt`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

from bulkhaul.agreement import Agreement
from bulkhaul.attempt import Outcome, ShowProgress, Work, attempt
from bulkhaul.errors import BulkhaulError, InvalidJobFile, JobsFailed, Stopped, combined_exit_code
from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.job import JobView, Owner, SlurmTask, Standing, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import process_gone, this_owner
from bulkhaul.messages import Mark, Message, Say, silent
from bulkhaul.preflight import Connect, Preflight
from bulkhaul.requeueing import goes_on_later
from bulkhaul.slurm import environment as slurm
from bulkhaul.slurm.query import TaskStates
from bulkhaul.sources.tree import walk
from bulkhaul.stopping import StopRequest
from bulkhaul.targets import TargetOf, sample_locations
from bulkhaul.transfer.dataset import WORTH_IT, Senders, TransferOptions


@dataclass(slots=True)
class WorkerReport:
    """What one worker did, by job name; `stopped` is the error that ended it before the joblist was done.

    `in_error`, `invalid` and `unproven` are the jobs that no worker claims, as seen when nothing else was left.
    """

    succeeded: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    in_doubt: list[str] = field(default_factory=list)
    in_error: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    files_sent: int = 0
    bytes_sent: int = 0
    stopped: BulkhaulError | None = None
    requeued: bool = False
    exit_code: int = 0

    def jobs_by(self, outcome: Outcome) -> list[str]:
        """The list that jobs with this outcome go into."""
        return {Outcome.SUCCEEDED: self.succeeded, Outcome.FAILED: self.failed, Outcome.LOST: self.lost}[outcome]


def transfer_joblist(
    folder: Path,
    *,
    lease: LeaseTimes,
    connect: Connect,
    target_of: TargetOf,
    options: TransferOptions,
    deadline: datetime | None = None,
    say: Say = silent,
    show: ShowProgress = lambda _progress: None,
) -> WorkerReport:
    """Work on the joblist in `folder` until no job is left to claim, or a signal, the deadline or a fault ends it.

    Each job that ends in `success` has been verified against a second listing. Inside a SLURM task the deadline is the
    task's own when none is given, and a task that its time limit stopped is requeued.

    Raises:
        UsageError: the folder is missing.
        StorageError: the joblist cannot be read.
    """
    joblist = Joblist(folder, lease_ttl=lease.ttl, heartbeat=lease.heartbeat)
    names = joblist.names()
    say(Message(Mark.INFO, f"Found {len(names)} job file(s) in '{folder}'."))
    say(Message(Mark.INFO, "Scanning for 'todo' status..."))
    task = slurm.current_task()
    limit = slurm.deadline(task) if task else None
    stop = StopRequest(deadline=min(filter(None, (deadline, limit)), default=None))
    owner = this_owner(_as_slurm_task(task))
    report = WorkerReport()
    agreement = Agreement(joblist, options, lease)
    with stop.listening(), agreement, Senders(options.sender_processes) as senders:
        preflight = Preflight(joblist, connect, owner, say, stop.check)
        work = Work(joblist, preflight, target_of, options, stop, say, show, senders, agreement)
        try:
            if not agreement.limits.active:
                _look_ahead(work)
            _check_targets(work)
            _claim_all(work, report, _judge_of_owners())
        except BulkhaulError as error:
            report.stopped = error
            say(Message(Mark.WARNING if isinstance(error, Stopped) else Mark.FAILED, str(error), detail=0))
        report.files_sent, report.bytes_sent = work.sent.files, work.sent.bytes
        report.exit_code = _exit_code(report)
        _say_end(report, say)
        if task is not None:
            moved = report.bytes_sent > 0 or bool(report.succeeded)
            report.requeued = goes_on_later(
                task, exit_code=report.exit_code, stop=stop, limit=limit, progressed=moved, say=say
            )
    return report


def _claim_all(work: Work, report: WorkerReport, owner_gone: Callable[[Owner], bool]) -> None:
    offset = slurm.current_share().offset
    with work.joblist.session(work.preflight.owner, offset=offset, owner_gone=owner_gone) as session:
        while (claim := session.claim_next(work.stop.check)) is not None:
            report.jobs_by(attempt(claim, work)).append(claim.name)
        for name, text in session.jobs_given_up():
            report.failed.append(name)
            work.say(Message(Mark.FAILED, f"{name}: {text}", detail=0))
        report.in_doubt = session.jobs_in_doubt()
        report.in_error = [name for name in session.jobs_in_error() if name not in report.failed]
        report.invalid = session.jobs_nobody_claims(Standing.INVALID)
        report.unproven = session.jobs_nobody_claims(Standing.UNPROVEN)
    work.preflight.remove_abandoned(owner_gone)


def _look_ahead(work: Work) -> None:
    """Start the senders early where the first job is a large one: they load while the buckets are made sure of."""

    def count() -> None:
        with suppress(BulkhaulError):
            source = work.joblist.read(names[0]).source
            if source is not None:
                work.senders.expect(sum(1 for _ in islice(walk(source), WORTH_IT)))

    if names := _names_by_share(work.joblist):
        # Not waited for: on a slow file system this takes longer than all that it runs beside.
        threading.Thread(target=count, name="look-ahead", daemon=True).start()


def _names_by_share(joblist: Joblist) -> list[str]:
    """The open jobs, from where this worker's share begins."""
    names = joblist.open_names()
    start = int(slurm.current_share().offset * len(names))
    return [*names[start:], *names[:start]]


def _check_targets(work: Work) -> None:
    """Make sure of the buckets of the open jobs before any is claimed; of a long joblist, those near our own share.

    Raises:
        UsageError: no open job has a usable target, so it is the settings that lack it.
        S3Error: a bucket cannot be used.
    """
    views = (work.joblist.read(name) for name in _names_by_share(work.joblist))
    work.preflight.check(sample_locations(filter(_is_open, views), work.target_of))


def _is_open(view: JobView) -> bool:
    return view.status in (Status.TODO, Status.ONGOING)


def _judge_of_owners() -> Callable[[Owner], bool]:
    """Whether an owner is proven dead: by this machine's processes, else by SLURM."""
    states = TaskStates()

    def gone(owner: Owner) -> bool:
        return process_gone(owner) or (owner.slurm is not None and states.gone(_as_task_id(owner.slurm)))

    return gone


def _as_slurm_task(task: slurm.TaskId | None) -> SlurmTask | None:
    if task is None:
        return None
    return SlurmTask(task.cluster, task.job_id, task.array_job_id, task.array_task, task.restart_count)


def _as_task_id(task: SlurmTask) -> slurm.TaskId:
    return slurm.TaskId(task.cluster, task.job_id, task.array_job_id, task.array_task, task.restart_count)


def _exit_code(report: WorkerReport) -> int:
    failed = bool(report.failed or report.in_error)
    codes = [JobsFailed.exit_code] * failed + [Stopped.exit_code] * bool(report.in_doubt)
    codes += [InvalidJobFile.exit_code] * bool(report.invalid)
    return combined_exit_code([*codes, report.stopped.exit_code if report.stopped else 0])


def _say_end(report: WorkerReport, say: Say) -> None:
    counts = f"{len(report.succeeded)} job(s) succeeded, {len(report.failed)} failed"
    if report.in_doubt:
        doubtful = ", ".join(report.in_doubt)
        say(Message(Mark.WARNING, f"Left with owners that may be dead: {doubtful}; start a worker again later"))
    if report.in_error:
        text = f"In `error` from before: {', '.join(report.in_error)}; mend the causes, then `bulkhaul retry`"
        say(Message(Mark.FAILED, text, detail=0))
    if report.invalid:
        text = f"Never claimed, not valid as a job file: {', '.join(report.invalid)}; the summary tells why"
        say(Message(Mark.FAILED, text, detail=0))
    if report.unproven:
        text = f"Never claimed, status not proven: {', '.join(report.unproven)}; `bulkhaul retry --unproven` sends them"
        say(Message(Mark.WARNING, text))
    if report.stopped is None and not report.in_doubt:
        say(Message(Mark.DONE, f"Nothing left to claim: {counts}."))
    else:
        say(Message(Mark.WARNING, f"Stopped with work left: {counts}."))
