"""Which way of sending a file in parts a server takes to the end and proves, tried with one small part."""

from __future__ import annotations

import logging
from typing import Any

from bulkhaul.errors import IntegrityFailed, UploadGone
from bulkhaul.s3.checksums import md5_hex
from bulkhaul.s3.multipart import complete
from bulkhaul.s3.parts import Digest, Span
from bulkhaul.s3.trial import LACKS, Trial
from bulkhaul.s3.uploading import ObjectRequests, Part, Whole

_LOG = logging.getLogger(__name__)

# What it refuses, what it does not know, and what it takes without a proof.
_FAILS = (*LACKS, IntegrityFailed, UploadGone)


def probe_multipart(trial: Trial) -> dict[str, Any]:
    """The features of uploads in parts, guarded by CRC64NVME where the server compares it, else by MD5.

    Raises:
        S3Error: a fault, after the usual repetitions.
    """
    found = _tried(trial, checksums=True)
    return found if found.get("part_checksum_enforced") else _tried(trial, checksums=False)


def _tried(trial: Trial, *, checksums: bool) -> dict[str, Any]:
    client, location = trial.connection.client, trial.location
    requests = ObjectRequests(client, location.bucket, trial.in_parts, trial.repeat, trial.gate, checksums)
    try:
        upload_id = requests.create(trial.doubt)
        trial.uploads.append(upload_id)
        upload: dict[str, Any] = {"Key": trial.in_parts, "UploadId": upload_id}
        part = {**upload, "PartNumber": 1, "Body": trial.body}
        enforced = checksums and trial.damage_refused("upload_part", **part)
        digest = Digest(trial.crc, None if checksums else md5_hex(trial.body))
        etag = requests.part_etag(trial.call("upload_part", **part, **requests.guard(digest)), digest)
        listed = {
            "list_parts": trial.allowed("list_parts", **upload),
            "list_uploads": trial.allowed("list_multipart_uploads", Prefix=trial.in_parts),
        }
        whole = _completed(trial, requests, upload_id, etag)
    except _FAILS as error:
        _LOG.debug("no upload in parts%s: %s", " with CRC64NVME" if checksums else "", error)
        return {}
    trial.uploads.remove(upload_id)
    kept = checksums and whole.crc == trial.crc
    return {"multipart": True, "multipart_checksum": kept, "part_checksum_enforced": enforced, **listed}


def _completed(trial: Trial, requests: ObjectRequests, upload_id: str, etag: str) -> Whole:
    size = len(trial.body)
    one = Part(Span(1, 0, size), etag, trial.crc, adopted=False)
    trial.written.append(trial.in_parts)  # even when the answer is lost
    try:
        return complete(requests, upload_id, [one], crc=trial.crc, size=size)
    except LACKS:
        trial.written.remove(trial.in_parts)
        raise
