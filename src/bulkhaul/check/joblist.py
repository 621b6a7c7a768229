"""The check of a joblist.

Local things first (the joblist's file system, job files, sources), then S3. No job changes, and nothing is sent but
the probe's own object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from bulkhaul.check.findings import Examples, Finding, Target
from bulkhaul.check.sources import SourceSize, check_sources
from bulkhaul.check.targets import check_targets
from bulkhaul.errors import OK, BulkhaulError, InvalidJobFile, StorageError, combined_exit_code
from bulkhaul.joblist.doctor.findings import Level
from bulkhaul.joblist.doctor.trials import examine_folder
from bulkhaul.joblist.job import JobView, Standing, Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.messages import Mark, Message, Say, silent
from bulkhaul.preflight import Connect
from bulkhaul.sources.discovery import nested_keys
from bulkhaul.targets import TargetOf, location_of


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was looked at (`files` and `bytes` of the jobs still to do) and what was found."""

    joblist: Path
    jobs: int
    files: int
    bytes: int
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 when nothing has to be mended."""
        return combined_exit_code(finding.exit_code for finding in self.findings)

    def as_dict(self) -> dict[str, object]:
        """The report as `--json` shows it."""
        values: dict[str, object] = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "exit_code": self.exit_code}


def check_joblist(folder: Path, *, connect: Connect, target_of: TargetOf, say: Say = silent) -> CheckReport:
    """Check the joblist in `folder`: storage, job files, sources, targets, bucket, credentials, leftovers.

    Jobs that have ended in `success` are checked for their job file and target only. Each finding is said as it comes.

    Raises:
        UsageError: the folder is missing.
        StorageError: it cannot be read.
    """
    joblist = Joblist(folder)
    jobs = [joblist.read(name) for name in joblist.names()]
    say(Message(Mark.INFO, f"Found {len(jobs)} job file(s)."))
    size = SourceSize()
    findings = []
    for finding in _all_findings(joblist, jobs, size, connect=connect, target_of=target_of, say=say):
        say(finding.message)
        findings.append(finding)
    problems = sum(finding.exit_code != OK for finding in findings)
    if problems:
        say(Message(Mark.FAILED, f"Check found {problems} problem(s)."))
    else:
        say(Message(Mark.DONE, "Check passed."))
    return CheckReport(folder, len(jobs), size.files, size.bytes, tuple(findings))


def _all_findings(
    joblist: Joblist, jobs: list[JobView], size: SourceSize, *, connect: Connect, target_of: TargetOf, say: Say
) -> Iterator[Finding]:
    yield from _check_storage(joblist, jobs)
    targets: list[Target] = []
    yield from _check_job_files(jobs, target_of, targets)
    yield from _check_keys(targets)
    unfinished = [target for target in targets if not target.done]
    yield from check_sources(unfinished, size, say=say)
    yield from check_targets(unfinished, connect=connect, say=say)


def _check_storage(joblist: Joblist, jobs: list[JobView]) -> Iterator[Finding]:
    if not jobs:
        yield Finding(str(joblist.folder), "it holds no job file", "make them with `bulkhaul extract`", 2)
    for trial in examine_folder(joblist.folder).findings:
        if trial.level is not Level.FINE:
            code = StorageError.exit_code if trial.level is Level.FATAL else OK
            step = "keep the joblist on another file system" if code else "`bulkhaul doctor` tells more"
            yield Finding(f"{joblist.folder} ({trial.trial})", trial.text, step, code)
    leftovers = Examples(str(path) for path in sorted(joblist.folder.glob("**/.*.tmp")))
    if leftovers.count:
        reason = f"{leftovers.count} temporary file(s) of killed writers: {leftovers}"
        yield Finding(str(joblist.folder), reason, "while no worker runs they can be removed")


def _check_job_files(jobs: list[JobView], target_of: TargetOf, targets: list[Target]) -> Iterator[Finding]:
    """Findings for jobs that cannot be used; the others go into `targets`."""
    without_target: defaultdict[tuple[str, str, str, int], Examples] = defaultdict(Examples)
    unproven = Examples()
    for job in jobs:
        if job.standing is Standing.INVALID or job.source is None:
            reason, _, step = job.problem.removeprefix(f"{job.name}.txt: ").partition("; ")
            yield Finding(f"{job.name}.txt", reason, step, InvalidJobFile.exit_code)
            continue
        try:
            location = location_of(job.target, job.source, target_of)
        except BulkhaulError as error:
            without_target[error.thing, error.reason, error.next_step, error.exit_code].add(f"{job.name}.txt")
        else:
            targets.append(Target(job.name, job.source, location, done=job.status is Status.SUCCESS))
        if job.status is None:
            unproven.add(f"{job.name}.txt")
    for (thing, reason, step, code), names in without_target.items():
        yield Finding(str(names), f"no usable target: {thing}: {reason}", step, code)
    if unproven.count:
        reason = f"{unproven.count} job(s) have a status that no record proves, and are not claimed"
        yield Finding(str(unproven), reason, "`bulkhaul retry --unproven` has them compared and sent")


def _check_keys(targets: list[Target]) -> Iterator[Finding]:
    for outer, inner in nested_keys((str(target.location), target) for target in targets):
        same = outer.location == inner.location
        reason = "they have the same target" if same else f"{inner.location} lies within the other's target"
        step = "give each job a target of its own"
        reason = f"{reason}: {outer.location}"
        yield Finding(f"{outer.name}.txt and {inner.name}.txt", reason, step, InvalidJobFile.exit_code)
