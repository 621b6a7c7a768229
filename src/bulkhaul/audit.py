"""Audit finished jobs: compare S3's listing with each job's manifest again, without a download.

It needs no source, so it works after the source is gone; with the sync level `checksum` the source is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bulkhaul.attempt import TargetOf, location_of
from bulkhaul.errors import BulkhaulError, JobsFailed, Stopped, combined_exit_code
from bulkhaul.joblist.job import JobView, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.messages import Mark, Message, Say, silent
from bulkhaul.preflight import Connect
from bulkhaul.slurm.environment import current_share
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
    gate: Callable[[], None] = lambda: None,
    say: Say = silent,
) -> AuditReport:
    """Audit each job in `success`; with `reset` those that fail go back to `todo`.

    A job that could not be checked (no credentials, unreadable manifest) is told and never reset. The exit code is 3
    when a job does not agree with S3, else that of what kept a job from being checked. Inside a SLURM array each task
    audits its share of the jobs.

    Raises:
        UsageError: the folder is missing.
        Stopped, Interrupted: from the gate.
    """
    audit = _Audit(Joblist(folder), connect, target_of, sync_level, gate)
    finished = [view for view in audit.joblist.scan() if view.status is Status.SUCCESS]
    say(Message(Mark.INFO, f"Found {len(finished)} finished job(s)."))
    share = current_share()
    if share.count > 1:
        finished = finished[share.index :: share.count]
        say(Message(Mark.INFO, f"Share {share.index + 1} of {share.count}: {len(finished)} job(s)."))
    report = AuditReport()
    codes = []
    for view in finished:
        try:
            problems = _problems_of(view, audit)
        except Stopped:
            raise
        except BulkhaulError as error:
            report.unchecked.append(view.name)
            codes.append(error.exit_code)
            say(Message(Mark.WARNING, f"{view.name}: not checked: {error}", detail=0))
            continue
        _record(view, problems, report, say)
        if problems:
            codes.append(JobsFailed.exit_code)
            if reset:
                _reset(view, problems, audit.joblist, say)
                report.reset.append(view.name)
    report.exit_code = combined_exit_code(codes)
    return report


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


def _reset(view: JobView, problems: list[tuple[str, str]], joblist: Joblist, say: Say) -> None:
    named = "; ".join(f"{name}: {reason}" for name, reason in problems[:_LOGGED])
    joblist.set_todo(view.name, f"audit: {len(problems)} file(s) do not agree with S3: {named}")
    say(Message(Mark.INFO, f"{view.name}: set back to 'todo'"))
