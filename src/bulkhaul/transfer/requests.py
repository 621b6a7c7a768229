"""How all parts of a transfer make a request: behind the gate, repeated by class, with fresh credentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bulkhaul.errors import AccessDenied, BucketUnusable, NoSuchObject
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.multipart import abort_upload
from bulkhaul.s3.retry import repeat
from bulkhaul.transfer.terms import Gate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Requests:
    """Makes requests of one connection; safe from many threads."""

    connection: Connection
    gate: Gate
    throttled: Callable[[], None]

    def repeat(self, call: Callable[[], T]) -> T:
        """Make one request until it succeeds or no repetition helps.

        Raises:
            S3Error: the last one.
            Stopped, ClaimLost: from the gate.
        """
        return repeat(call, gate=self.gate, source=self.connection.source, on_throttle=self.throttled)

    def stored_crc64nvme(self, key: str) -> str | None:
        """The CRC64NVME of the whole object in S3's form; None where S3 has none or must not tell."""

        def head() -> str | None:
            with s3_errors(key):
                found = self.connection.client.head_object(
                    Bucket=self.connection.location.bucket, Key=key, ChecksumMode="ENABLED"
                )
            checksum: str | None = found.get("ChecksumCRC64NVME")
            return checksum

        try:
            return self.repeat(head)
        except (AccessDenied, NoSuchObject, BucketUnusable):  # the last one: a server that knows no HEAD
            return None

    def abort_upload(self, key: str, upload_id: str) -> None:
        """End a multipart upload that nobody will complete; one that is gone is fine.

        Raises:
            S3Error: it stands still, and its parts cost money.
        """
        bucket = self.connection.location.bucket
        abort_upload(self.connection.client, bucket, key, upload_id, repeat=self.repeat)
