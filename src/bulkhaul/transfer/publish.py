"""What closes a run in S3: no upload is left parked, and the manifest lies beside the prefix."""

from __future__ import annotations

import os
from pathlib import Path

from bulkhaul.errors import AccessDenied, CredentialsError, S3Error, Throttled
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.location import S3Location, key_problem
from bulkhaul.transfer.manifest import Outcome
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.reading import source_errors, version
from bulkhaul.transfer.run import Run

MANIFEST_SUFFIX = ".manifest.jsonl.gz"
"""What follows a target's prefix in the key of its manifest, which so lies beside the prefix."""


def manifest_key(location: S3Location) -> str | None:
    """Where the manifest of a target goes: beside its prefix; None where there is no such place."""
    key = location.prefix + MANIFEST_SUFFIX
    return key if location.prefix and key_problem(key) is None else None


def put_manifest(run: Run, manifest: Path) -> str | None:
    """Store the manifest beside the prefix unless the same is there; a note where no right or no key lets it be.

    Raises:
        S3Error, Stopped, ClaimLost: whatever stopped it; the dataset itself is complete.
    """
    key = manifest_key(run.location)
    if key is None:
        return "the manifest stays beside the job file: there is no key for it beside the target"
    with source_errors(manifest):
        file = version(manifest.stat(), manifest.name)
    sender = run.sender(Path(os.path.realpath(manifest.parent)), lambda _name: key)
    try:
        remote = _listed(run, key)
        same_size = remote is not None and remote.size == file.size
        record = sender.send(Compare(file, remote) if remote and same_size else Upload(file, "missing"))
    except AccessDenied as error:
        # A grant may end at the prefix. The dataset is complete, so this is told and is no failure.
        return f"the manifest could not be put beside the target: {error.reason}"
    if record.outcome is Outcome.FAILED:
        # Not a note: a success without it would never put it again.
        step = "the dataset has arrived; `bulkhaul retry` puts it again, or set `manifest_upload = false`"
        raise S3Error(S3Location(run.location.bucket, key), f"the manifest could not be put: {record.reason}", step)
    return None


def abort_leftovers(run: Run) -> list[str]:
    """End the multipart uploads that no file needs any more; a note for each that could not be ended.

    Raises:
        Stopped, ClaimLost: from the gate; only the newest generation may do this.
        CredentialsError, Throttled: no request is to be had any more; each further upload would wait as long.
    """
    notes = []
    for upload in run.journal.parked():
        try:
            run.requests.abort_upload(upload.key, upload.upload_id)
        except S3Error as error:
            notes.append(f"a multipart upload of {upload.key} is left behind: {_reason(error)}")
            continue
        run.journal.ended(upload)
    for key, since in run.journal.nameless().items():
        try:
            run.requests.end_nameless_uploads(key, since=since)
        except S3Error as error:
            notes.append(f"a multipart upload of {key} may be left behind, without parts: {_reason(error)}")
    return notes


def _reason(error: S3Error) -> str:
    """The reason of a fault of this upload alone; any other is raised again."""
    if isinstance(error, (CredentialsError, Throttled)) and not isinstance(error, AccessDenied):
        raise error
    return error.reason


def _listed(run: Run, key: str) -> RemoteObject | None:
    listed = run.connection.engine.list_objects(key, repeat=run.requests.repeat)
    return next((remote for remote in listed if remote.key == key), None)
