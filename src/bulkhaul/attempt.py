"""One claim: transfer its dataset and decide, from how that ended, what becomes of the job.

Each error has one of four fates, decided here alone: the job's own fault ends it in `error`; a fault of bucket,
credentials, network or time gives the job back and ends the worker; a lost claim is left to its new owner; a storage
fault ends the worker. So no job is claimed round and round, and no fault of the site turns a joblist into `error`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bulkhaul.agreement import Agreement
from bulkhaul.errors import (
    AccessDenied,
    BucketUnusable,
    BulkhaulError,
    ClaimLost,
    ClockSkewed,
    CredentialsError,
    Stopped,
    StorageError,
    Throttled,
    Transient,
)
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.messages import Mark, Message, Say
from bulkhaul.preflight import Preflight
from bulkhaul.progress import ProgressLines
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.features import Features
from bulkhaul.stopping import StopRequest
from bulkhaul.targets import TargetOf, location_of
from bulkhaul.transfer.dataset import Progress, Senders, TransferOptions, TransferReport, Workspace, transfer_dataset

_LOG = logging.getLogger(__name__)

ShowProgress = Callable[[Progress], None]

_FAULTS_OF_ALL = (CredentialsError, BucketUnusable, ClockSkewed, Transient, Throttled, Stopped)
"""Faults that the next job would meet too: the job goes back as it was and the worker ends."""


def hits_all_jobs(error: BulkhaulError) -> bool:
    """Whether the other jobs would surely meet this fault too; a denial may hold for one prefix only."""
    return isinstance(error, _FAULTS_OF_ALL) and not isinstance(error, AccessDenied)


_DENIED = "denied"
"""The fact that a release leaves to the next claim: a job that is denied twice is not claimed round and round."""

_NAMED = 5  # failures in the line that ends a job
_WIDTH = 80  # characters of a name or reason in it


class Outcome(StrEnum):
    """What became of a claimed job."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclass(slots=True)
class Sent:
    """What this worker has newly sent, whatever became of the jobs."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What stays the same for all jobs of one worker; `sent` alone grows."""

    joblist: Joblist
    preflight: Preflight
    target_of: TargetOf
    options: TransferOptions
    stop: StopRequest
    say: Say
    show: ShowProgress
    senders: Senders
    agreement: Agreement
    sent: Sent = field(default_factory=Sent)


def attempt(claim: Claim, work: Work) -> Outcome:
    """Transfer the claimed dataset and end the claim.

    Raises:
        BulkhaulError: a fault that the next job would meet too, or a stop; the claim has been released as far as that
            was possible, else its lease runs out.
    """
    work.say(Message(Mark.INFO, f"Found 'todo' job: {claim.name}.txt"))
    try:
        report = _transfer(claim, work)
        return _end(claim, report, work)
    except ClaimLost as error:
        work.say(Message(Mark.WARNING, str(error)))
        return Outcome.LOST
    except (*_FAULTS_OF_ALL, StorageError) as error:
        if _is_this_jobs_own(error, claim, work):
            return _fail(claim, str(error), work)
        _give_back(claim, error)
        work.stop.check()  # a stop that came meanwhile is what the person asked for, not a denial or a lost connection
        raise
    except BulkhaulError as error:
        return _fail(claim, str(error), work)


def workspace_of(joblist: Joblist, name: str, generation: int) -> Workspace:
    """The files that a transfer of the job leaves and finds: its manifest and the generations' partial ones."""
    partial = joblist.work_path(name, generation)
    return Workspace(
        manifest=joblist.manifest_path(name),
        partial=partial,
        earlier=tuple(path for path in joblist.work_paths(name) if path != partial),
        scratch=joblist.state_path("scratch"),
    )


def _transfer(claim: Claim, work: Work) -> TransferReport:
    location = location_of(claim.target, claim.source, work.target_of)
    work.preflight.admit(location)  # a bucket that no job of the sample had
    connection = work.preflight.connect(location)
    _warn_of_fixed_keys(claim, connection, work)
    work.say(Message(Mark.INFO, f"Uploading files from '{claim.source}' to S3..."))
    lines = ProgressLines()
    before, most = Sent(work.sent.files, work.sent.bytes), Sent()

    def gate() -> None:
        work.stop.check()
        claim.check()

    def on_progress(progress: Progress) -> None:
        # The parts of a large file that was cut off are taken back from the count, yet they are parked in S3.
        most.files = max(most.files, progress.files_sent)
        most.bytes = max(most.bytes, progress.bytes_sent)
        work.sent.files, work.sent.bytes = before.files + most.files, before.bytes + most.bytes
        claim.progress(files=most.files, bytes=most.bytes, last=progress.last)
        line = lines.line(progress)
        if line is not None:
            claim.log(line)
        work.show(progress)

    with work.agreement.sending_to(connection):
        return transfer_dataset(
            claim.source,
            connection,
            options=_fitted(work.options, work.preflight.features.get(connection.location.bucket)),
            workspace=workspace_of(work.joblist, claim.name, claim.generation),
            gate=gate,
            report=on_progress,
            senders=work.senders,
            limits=work.agreement.limits,
        )


def _end(claim: Claim, report: TransferReport, work: Work) -> Outcome:
    for note in report.notes:
        claim.log(note)
        work.say(Message(Mark.WARNING, f"{claim.name}: {note}"))
    if not report.ok:
        text = f"{report.files_failed} file(s) failed: {_named(report)}; mend them, then `bulkhaul retry`"
        return _fail(claim, text, work, facts=report.as_dict())
    text = f"verified: {report.files_sent} file(s) sent, {report.files_skipped} already there"
    claim.end(Status.SUCCESS, text, facts=report.as_dict())
    work.say(Message(Mark.DONE, f"{claim.name}: {text}"))
    try:
        work.joblist.discard_work(claim.name, generation=claim.generation)
    except StorageError as error:
        _LOG.warning("%s is done, its partial manifests stay: %s", claim.name, error)
    return Outcome.SUCCEEDED


def _named(report: TransferReport) -> str:
    """The first failures, short enough that the log's longest line has room for them and for the next step."""
    first = [f"{_short(repr(name))}: {_short(reason)}" for name, reason in report.failures[:_NAMED]]
    more = ["... (the manifest names all)"] if report.files_failed > len(first) else []
    return "; ".join(first + more)


def _short(text: str) -> str:
    """Both ends of a long `text`: a name differs from its neighbours at its end."""
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH // 2 - 2]}...{text[1 - _WIDTH // 2 :]}"


def _fail(claim: Claim, text: str, work: Work, *, facts: dict[str, object] | None = None) -> Outcome:
    try:
        claim.end(Status.ERROR, text, facts={"reason": text, **(facts or {})})
    except ClaimLost as error:
        work.say(Message(Mark.WARNING, str(error)))
        return Outcome.LOST
    work.say(Message(Mark.FAILED, f"{claim.name}: {text}", detail=0))
    return Outcome.FAILED


def _give_back(claim: Claim, error: BulkhaulError) -> None:
    try:
        claim.release(f"released: {error}", facts={_DENIED: isinstance(error, AccessDenied)})
    except (ClaimLost, StorageError) as second:
        # The lease runs out by itself; the first error is what the person needs to read.
        _LOG.debug("not released: %s", second)


def _fitted(options: TransferOptions, features: Features | None) -> TransferOptions:
    """The options in the mode that the bucket's server allows."""
    if features is None:
        return options
    return replace(
        options,
        checksums=features.checksum_enforced,
        multipart=features.multipart,
        multipart_checksums=features.part_checksum_enforced,
        listing_in_order=features.lists_in_byte_order,
    )


def _warn_of_fixed_keys(claim: Claim, connection: Connection, work: Work) -> None:
    """Say so before it starts when the keys end on their own and nothing here can renew them."""
    end = connection.source.ends_within_a_transfer
    if end is None:
        return
    text = f"the credentials are fixed and end at {end:%Y-%m-%dT%H:%M:%SZ}; a longer transfer stops there"
    claim.log(text)
    work.say(Message(Mark.WARNING, text))


def _is_this_jobs_own(error: BulkhaulError, claim: Claim, work: Work) -> bool:
    """Whether other jobs do not meet this fault: a bucket that is not theirs, a denial of one prefix or met twice."""
    admitted = work.preflight.features
    if isinstance(error, BucketUnusable):
        own = location_of(claim.target, claim.source, work.target_of).bucket
        return bool(admitted) and own not in admitted
    if not isinstance(error, AccessDenied):
        return False
    denied = location_of(claim.target, claim.source, work.target_of)
    return bool(claim.facts.get(_DENIED)) or work.preflight.still_works_elsewhere(denied)
