"""The dry run of a worker: plan each job that it would claim, say what it would send, write nothing anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bulkhaul.attempt import hits_all_jobs, workspace_of
from bulkhaul.errors import BulkhaulError, InvalidJobFile, JobsFailed, Stopped, combined_exit_code
from bulkhaul.joblist.job import JobView, Standing
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.messages import Mark, Message, Say, silent
from bulkhaul.preflight import Connect
from bulkhaul.targets import TargetOf, check_readable, location_of, sample_locations
from bulkhaul.transfer.dataset import TransferOptions, plan_dataset
from bulkhaul.transfer.manifest import Outcome
from bulkhaul.transfer.plan import Compare, Decision, Extra, Leave, Upload


@dataclass(slots=True)
class JobPlan:
    """What a transfer of one job would do, in files; `compare` are those whose content would be read first."""

    name: str
    send: int = 0
    send_bytes: int = 0
    compare: int = 0
    skip: int = 0
    fail: int = 0
    extra: int = 0

    def count(self, decision: Decision) -> None:
        """Add one decision of the plan."""
        if isinstance(decision, Upload):
            self.send += 1
            self.send_bytes += decision.file.size
        elif isinstance(decision, Compare):
            self.compare += 1
        elif isinstance(decision, Extra):
            self.extra += 1
        elif isinstance(decision, Leave) and decision.record.outcome is Outcome.FAILED:
            self.fail += 1
        else:
            self.skip += 1

    def __str__(self) -> str:
        words = [f"would send {self.send} file(s), {self.send_bytes / 1e9:.3f} GB"]
        words += [f"compare {self.compare}"] if self.compare else []
        words += [f"skip {self.skip}"] if self.skip else []
        words += [f"fail {self.fail}"] if self.fail else []
        words += [f"{self.extra} object(s) without a source"] if self.extra else []
        return f"{self.name}: {', '.join(words)}"


@dataclass(slots=True)
class RehearsalReport:
    """The plans of all jobs that could be planned; `unplanned` are (job, reason)."""

    plans: list[JobPlan] = field(default_factory=list)
    unplanned: list[tuple[str, str]] = field(default_factory=list)
    exit_code: int = 0


def rehearse_joblist(
    folder: Path,
    *,
    connect: Connect,
    target_of: TargetOf,
    options: TransferOptions,
    gate: Callable[[], None] = lambda: None,
    say: Say = silent,
) -> RehearsalReport:
    """Plan each job that a worker could claim now. Reads trees and listings; claims and writes nothing.

    Raises:
        UsageError: the folder is missing, or no job has a usable target.
        S3Error: no bucket can be listed; nothing was planned.
        Stopped, Interrupted: from the gate.
    """
    joblist = Joblist(folder)
    say(Message(Mark.INFO, f"Found {len(joblist.names())} job file(s) in '{folder}'."))
    say(Message(Mark.INFO, "Scanning for 'todo' status..."))
    check_readable(sample_locations(filter(_can_be_claimed, joblist.iterate()), target_of), connect)
    report = RehearsalReport()
    codes = []
    for view in joblist.iterate():
        if view.standing is Standing.INVALID:
            report.unplanned.append((view.name, view.problem))
            codes.append(InvalidJobFile.exit_code)
            say(Message(Mark.FAILED, view.problem, detail=0))
        if not _can_be_claimed(view):
            continue
        try:
            planned = _plan(view, joblist, connect=connect, target_of=target_of, options=options, gate=gate)
        except Stopped:
            raise
        except BulkhaulError as error:
            report.unplanned.append((view.name, str(error)))
            codes.append(error.exit_code)
            say(Message(Mark.FAILED, f"{view.name}: {error}", detail=0))
            if hits_all_jobs(error):
                break  # two hundred plates would wait for the same refusal two hundred times
            continue
        report.plans.append(planned)
        codes += [JobsFailed.exit_code] * bool(planned.fail)
        say(Message(Mark.INFO, str(planned)))
    report.exit_code = combined_exit_code(codes)
    return report


def _can_be_claimed(view: JobView) -> bool:
    return view.standing in (Standing.FREE, Standing.EXPIRED)


def _plan(
    view: JobView,
    joblist: Joblist,
    *,
    connect: Connect,
    target_of: TargetOf,
    options: TransferOptions,
    gate: Callable[[], None],
) -> JobPlan:
    assert view.source is not None  # a job that can be claimed could be read
    connection = connect(location_of(view.target, view.source, target_of))
    next_generation = view.record.generation + 1 if view.record else 1
    workspace = workspace_of(joblist, view.name, next_generation)
    planned = JobPlan(view.name)
    for decision in plan_dataset(view.source, connection, options=options, workspace=workspace, gate=gate):
        planned.count(decision)
    return planned
