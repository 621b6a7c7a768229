"""The transfer of one dataset, its dry run and its audit: the stages in their order, and nothing else.

`walk + list + earlier manifest -> plan -> chunks -> verify -> metadata, deepest first -> verify -> manifest`
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bulkhaul.errors import StorageError
from bulkhaul.fsio import make_folder, storage_errors
from bulkhaul.s3.connection import Connection
from bulkhaul.sources.tree import walk
from bulkhaul.transfer.audit import audit_dataset
from bulkhaul.transfer.lanes import Abandoned
from bulkhaul.transfer.limits import Limits
from bulkhaul.transfer.listings import Listings
from bulkhaul.transfer.manifest import Outcome, Record
from bulkhaul.transfer.manifest_file import manifest_sha256, write_manifest
from bulkhaul.transfer.merging import earlier_records, sorted_records
from bulkhaul.transfer.plan import Decision, plan
from bulkhaul.transfer.planner import Findings
from bulkhaul.transfer.publish import abort_leftovers, put_manifest
from bulkhaul.transfer.requests import Requests
from bulkhaul.transfer.run import Run
from bulkhaul.transfer.senders import WORTH_IT, Senders
from bulkhaul.transfer.stages import send_chunks, send_metadata
from bulkhaul.transfer.terms import (
    Gate,
    Progress,
    SyncLevel,
    TransferOptions,
    TransferReport,
    Workspace,
)
from bulkhaul.transfer.verify import Discrepancy
from bulkhaul.transfer.zarr import marked

__all__ = [
    "WORTH_IT",
    "Discrepancy",
    "Gate",
    "Progress",
    "Senders",
    "SyncLevel",
    "TransferOptions",
    "TransferReport",
    "Workspace",
    "audit_dataset",
    "plan_dataset",
    "transfer_dataset",
]

_NAMED_FAILURES = 10


def transfer_dataset(
    source: Path,
    connection: Connection,
    *,
    options: TransferOptions,
    workspace: Workspace,
    gate: Gate,
    report: Callable[[Progress], None],
    senders: Senders,
    limits: Limits | None = None,
) -> TransferReport:
    """Bring the files of `source` below the connection's location and prove that they are there.

    `limits` are what this worker goes on with from dataset to dataset (default: those of `options`, begun anew).

    The final manifest stands in any case that ends with a report, and is left as it is where it says all of it already;
    it is put beside the target when all is well.

    Raises:
        SourceError: the dataset is missing, unreadable or empty.
        Stopped, ClaimLost: from the gate; parts and the partial manifest stay for the next generation.
        CredentialsError, BucketUnusable, ClockSkewed, Transient, Throttled: no file can be sent any more.
        StorageError: the workspace failed.
    """
    with storage_errors(workspace.scratch):
        make_folder(workspace.scratch)
        run = Run(
            Path(os.path.realpath(source)),
            connection,
            options=options,
            workspace=workspace,
            gate=gate,
            report=report,
            senders=senders,
            limits=limits,
        )
        try:
            with run:
                return _transfer(run)
        except Abandoned:
            assert run.halt.error is not None
            raise run.halt.error from None


def plan_dataset(
    source: Path, connection: Connection, *, options: TransferOptions, workspace: Workspace | None, gate: Gate
) -> Iterator[Decision]:
    """Yield the decisions of a transfer in the order of the names' bytes, writing nothing anywhere.

    The listing is always sorted first (a long one in unnamed temporary files), so that no decision is ever void.

    Raises:
        SourceError: the dataset is missing or unreadable.
        S3Error: the target cannot be listed.
        Stopped: from the gate.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        listings = Listings(Requests(connection, gate), scratch)
        listings.sorted = True
        earlier: Iterator[Record] = iter(())
        if workspace is not None:
            partials = (*workspace.earlier, workspace.partial)
            earlier = earlier_records(workspace.manifest, partials, folder=scratch, note=lambda _text: None)
        yield from plan(
            walk(source), listings.objects(), earlier, location=connection.location, sync_level=options.sync_level
        )


def _transfer(run: Run) -> TransferReport:
    planned = send_chunks(run)
    records = send_metadata(run, planned)
    run.tally.enter("manifest")
    count = _Count()
    expected = run.tally.files_planned + sum(planned.findings.left_out.values())

    def balanced() -> None:
        run.requests.gate()
        if count.entries != expected:
            # No record says "failed", yet some are lost: that must never be taken for success.
            reason = f"{count.entries} records for {expected} entries of the tree"
            raise StorageError(run.workspace.partial, reason, "check the file system of the joblist, then run again")

    if planned.unchanged:
        count.in_s3 = expected
        sha256 = manifest_sha256(run.workspace.manifest)
    else:
        marks = sorted_records([planned.marks.records()], folder=run.workspace.scratch)
        final = count.counted(marked(records(), marks))
        sha256 = write_manifest(run.workspace.manifest, final, before_replace=balanced)
    notes = _notes(planned.findings)
    if not count.failed:
        notes += abort_leftovers(run)
        if run.options.manifest_upload and (note := put_manifest(run, run.workspace.manifest)):
            notes.append(note)
    return TransferReport(
        files_sent=run.tally.files_sent,
        bytes_sent=run.tally.bytes_sent,
        files_skipped=max(0, count.in_s3 - run.tally.files_sent),
        files_failed=count.failed,
        extra=planned.findings.extra,
        manifest_sha256=sha256,
        failures=tuple(count.failures),
        notes=tuple(notes),
    )


def _notes(findings: Findings) -> list[str]:
    notes = list(findings.notes)
    if findings.left_out:
        kinds = ", ".join(f"{number} {reason}" for reason, number in sorted(findings.left_out.items()))
        named = _named(findings.first_left_out, of=sum(findings.left_out.values()))
        step = "the manifest names all; put what must arrive there as plain files, then transfer again"
        notes.append(f"left out by policy: {kinds}: {named}; {step}")
    if findings.extra:
        named = _named(findings.first_extra, of=findings.extra)
        notes.append(f"{findings.extra} object(s) at the target that the source lacks, left alone: {named}")
    return notes


def _named(first: list[str], *, of: int) -> str:
    return ", ".join(repr(name) for name in first) + (", ..." if of > len(first) else "")


class _Count:
    """Counts the final records as they pass."""

    def __init__(self) -> None:
        self.entries = 0
        self.in_s3 = 0
        self.failed = 0
        self.failures: list[tuple[str, str]] = []

    def counted(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self.entries += 1
            if record.outcome is Outcome.FAILED:
                self.failed += 1
                if len(self.failures) < _NAMED_FAILURES:
                    self.failures.append((record.name, record.reason))
            elif record.in_s3:
                self.in_s3 += 1
            yield record
