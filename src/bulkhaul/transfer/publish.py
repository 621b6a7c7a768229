"""What closes a run in S3: no upload is left parked, and the manifest lies beside the prefix."""

from __future__ import annotations

from pathlib import Path

from bulkhaul.errors import AccessDenied, S3Error
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.location import S3Location, key_problem
from bulkhaul.transfer.manifest import Outcome
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.reading import source_errors, version
from bulkhaul.transfer.run import Run

_SUFFIX = ".manifest.jsonl.gz"


def manifest_key(location: S3Location) -> str | None:
    """Where the manifest of a target goes: beside its prefix; None where there is no such place."""
    key = location.prefix + _SUFFIX
    return key if location.prefix and key_problem(key) is None else None


def put_manifest(run: Run, manifest: Path) -> str | None:
    """Store the manifest beside the prefix unless the same is there; a note when that cannot be.

    Raises:
        S3Error, Stopped, ClaimLost: whatever stopped it; the dataset itself is complete.
    """
    key = manifest_key(run.location)
    if key is None:
        return "the manifest stays beside the job file: there is no key for it beside the target"
    with source_errors(manifest):
        file = version(manifest.stat(), manifest.name)
    sender = run.sender(manifest.parent, lambda _name: key)
    try:
        remote = _listed(run, key)
        same_size = remote is not None and remote.size == file.size
        record = sender.send(Compare(file, remote) if remote and same_size else Upload(file, "missing"))
    except AccessDenied as error:
        # A grant may end at the prefix. The dataset is complete, so this is told and is no failure.
        return f"the manifest could not be put beside the target: {error.reason}"
    if record.outcome is Outcome.FAILED:
        return f"the manifest could not be put beside the target: {record.reason}"
    return None


def abort_leftovers(run: Run) -> list[str]:
    """End the multipart uploads that no file needs any more; a note for each that could not be ended.

    Raises:
        Stopped, ClaimLost: from the gate; only the newest generation may do this.
    """
    notes = []
    for upload in run.journal.parked():
        try:
            run.requests.abort_upload(upload.key, upload.upload_id)
        except S3Error as error:
            notes.append(f"a multipart upload of {upload.key} is left behind: {error.reason}")
            continue
        run.journal.ended(upload)
    return notes


def _listed(run: Run, key: str) -> RemoteObject | None:
    listed = run.connection.engine.list_objects(key, repeat=run.requests.repeat)
    return next((remote for remote in listed if remote.key == key), None)
