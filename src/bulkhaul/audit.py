"""Audit finished jobs: compare S3's listing with each job's manifest again, without a download.

It needs no source, so it works after the source is gone; with the sync level `checksum` the source is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bulkhaul.attempt import hits_all_jobs
from bulkhaul.errors import BulkhaulError, JobsFailed, UsageError, combined_exit_code
from bulkhaul.joblist.job import JobView, Standing, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.messages import Mark, Message, Say, silent
from bulkhaul.preflight import Connect
from bulkhaul.requeueing import goes_on_later
from bulkhaul.shares import AuditShare
from bulkhaul.slurm.environment import current_task, deadline
from bulkhaul.stopping import StopRequest
from bulkhaul.targets import TargetOf, check_readable, location_of, sample_locations
from bulkhaul.transfer.dataset import SyncLevel, audit_dataset

_LOGGED = 5
"""So many of a job's problems go into its log when it is reset; all are said."""


@dataclass(slots=True)
class AuditReport:
    """The finished jobs by what the audit found; `problems` names each file (job, name, reason)."""

    verified: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    reset: list[str] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    stopped: BulkhaulError | None = None
    requeued: bool = False
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class _Audit:
    joblist: Joblist
    connect: Connect
    target_of: TargetOf
    sync_level: SyncLevel
    gate: Callable[[], None]


def verify_joblist(
    folder: Path,
    *,
    connect: Connect,
    target_of: TargetOf,
    sync_level: SyncLevel = SyncLevel.DEFAULT,
    reset: bool = False,
    say: Say = silent,
) -> AuditReport:
    """Audit each job in `success`; with `reset` those that fail go back to `todo`.

    A job that could not be checked (no credentials, unreadable manifest) is told and never reset. The exit code is 3
    when a job does not agree with S3, unless something worse kept jobs from being checked. In a SLURM array each task
    audits its share, and goes on where it was when its time limit cuts it off.

    Raises:
        UsageError: the folder is missing, or no job has a usable target.
        S3Error: no bucket can be listed; nothing was checked.
        StorageError: the joblist cannot be read.
    """
    task = current_task()
    limit = deadline(task) if task else None
    stop = StopRequest(deadline=limit)
    audit = _Audit(Joblist(folder), connect, target_of, sync_level, stop.check)
    views = audit.joblist.scan()
    finished = [view for view in views if view.status is Status.SUCCESS]
    say(Message(Mark.INFO, f"Found {len(finished)} finished job(s)."))
    if unproven := sum(view.standing is Standing.UNPROVEN for view in views):
        text = f"{unproven} job(s) have a status that no record proves; `bulkhaul retry --unproven` has them compared"
        say(Message(Mark.WARNING, text))
    share = AuditShare(audit.joblist, task)
    ours = share.of(finished)
    if task is not None:
        say(Message(Mark.INFO, f"{share}: {len(ours)} job(s)."))
    check_readable(sample_locations(ours, target_of), connect)
    report = AuditReport()
    with stop.listening():
        codes = _audit_all(ours, audit, report, share=share, reset=reset, say=say)
        report.exit_code = combined_exit_code(codes)
        if task is not None:
            report.requeued = goes_on_later(
                task, exit_code=report.exit_code, stop=stop, limit=limit, progressed=bool(report.verified), say=say
            )
    if report.stopped is None:
        share.close()
    return report


def _audit_all(
    finished: list[JobView], audit: _Audit, report: AuditReport, *, share: AuditShare, reset: bool, say: Say
) -> list[int]:
    """Fill `report` job by job; the exit codes of what was met. A fault that all jobs would meet ends the audit."""
    codes = []
    for number, view in enumerate(finished):
        try:
            problems = _problems_of(view, audit)
        except BulkhaulError as error:
            codes.append(error.exit_code)
            if hits_all_jobs(error):
                left = [one.name for one in finished[number:]]
                report.stopped = error
                report.unchecked += left
                say(Message(Mark.FAILED, str(error), detail=0))
                say(Message(Mark.WARNING, f"{len(left)} job(s) not checked.", detail=0))
                break
            report.unchecked.append(view.name)
            say(Message(Mark.WARNING, f"{view.name}: not checked: {error}", detail=0))
            continue
        _record(view, problems, report, say)
        if not problems:
            share.note(view.name)
        else:
            codes.append(JobsFailed.exit_code)
            if reset:
                _reset(view, problems, audit.joblist, report, say)
    return codes


def _problems_of(view: JobView, audit: _Audit) -> list[tuple[str, str]]:
    audit.gate()
    assert view.source is not None  # only a job file that can be read is in `success`
    connection = audit.connect(location_of(view.target, view.source, audit.target_of))
    source = view.source if audit.sync_level is SyncLevel.CHECKSUM else None
    found = audit_dataset(
        connection,
        audit.joblist.manifest_path(view.name),
        source=source,
        sync_level=audit.sync_level,
        scratch=audit.joblist.state_path("scratch"),
        gate=audit.gate,
    )
    return [(problem.name, problem.reason) for problem in found]


def _record(view: JobView, problems: list[tuple[str, str]], report: AuditReport, say: Say) -> None:
    if not problems:
        report.verified.append(view.name)
        say(Message(Mark.DONE, f"{view.name}: agrees with S3"))
        return
    report.failed.append(view.name)
    say(Message(Mark.FAILED, f"{view.name}: {len(problems)} file(s) do not agree with S3", detail=0))
    for name, reason in problems:
        report.problems.append((view.name, name, reason))
        say(Message(Mark.FAILED, f"{view.name}: {name}: {reason}", detail=0))


def _reset(view: JobView, problems: list[tuple[str, str]], joblist: Joblist, report: AuditReport, say: Say) -> None:
    named = "; ".join(f"{name}: {reason}" for name, reason in problems[:_LOGGED])
    try:
        joblist.set_todo(view.name, f"audit: {len(problems)} file(s) do not agree with S3: {named}")
    except UsageError as error:
        # A worker was faster, or a person: the job is on its way already.
        say(Message(Mark.WARNING, f"{view.name}: not set back: {error}", detail=0))
        return
    report.reset.append(view.name)
    say(Message(Mark.INFO, f"{view.name}: set back to 'todo'"))
