"""Multipart uploads of ours whose id nobody knows: the process was killed, or the answer lost, when they were begun.

They have no part, since parts are sent under a known id. So they cost nothing and hold nothing; yet a bucket's owner
sees them, and nobody but the job of that key knows whose they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from bulkhaul.errors import UploadGone
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.engine import Repeat
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.multipart import abort_upload

_SKEW = 900.0  # seconds: S3 refuses requests of a clock that is further off


def end_nameless_uploads(client: Any, bucket: str, key: str, *, since: float, repeat: Repeat) -> None:
    """Abort the uploads of exactly `key` that were begun at `since` (seconds since 1970) or later and have no part.

    Only the newest generation of the job may, when no upload of this key is under way any more. What other people have
    begun has parts, or was begun before.

    Raises:
        S3Error: they cannot be looked for, or one still stands.
    """
    for upload_id in _begun_since(client, bucket, key, since - _SKEW, repeat):
        with suppress(UploadGone):  # a listing that lags tells of what was completed
            if not _has_parts(client, bucket, key, upload_id, repeat):
                abort_upload(client, bucket, key, upload_id, repeat=repeat)


def _begun_since(client: Any, bucket: str, key: str, since: float, repeat: Repeat) -> Iterator[str]:
    def listed() -> list[Any]:
        with s3_errors(S3Location(bucket, key)):
            pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key)
            return [upload for page in pages for upload in page.get("Uploads", ())]

    for upload in repeat(listed):
        if upload["Key"] == key and upload["Initiated"].timestamp() >= since:
            yield upload["UploadId"]


def _has_parts(client: Any, bucket: str, key: str, upload_id: str, repeat: Repeat) -> bool:
    def listed() -> Any:
        with s3_errors(S3Location(bucket, key)):
            return client.list_parts(Bucket=bucket, Key=key, UploadId=upload_id, MaxParts=1)

    return bool(repeat(listed).get("Parts"))
