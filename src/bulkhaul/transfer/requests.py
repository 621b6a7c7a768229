"""How all parts of a transfer make a request: behind the gate, within the limits, repeated by class of error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from bulkhaul.errors import AccessDenied, BucketUnusable, NoSuchObject
from bulkhaul.s3.checksums import encode_crc64nvme
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.multipart import abort_upload
from bulkhaul.s3.nameless import end_nameless_uploads
from bulkhaul.s3.policy import DEFAULT_POLICY, RetryPolicy
from bulkhaul.s3.retry import repeat
from bulkhaul.s3.token import Token
from bulkhaul.s3.uploading import whole_crc64nvme
from bulkhaul.transfer.limits import Limits
from bulkhaul.transfer.terms import Gate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Requests:
    """Makes requests of one connection; safe from many threads."""

    connection: Connection
    gate: Gate
    limits: Limits = field(default_factory=Limits)
    policy: RetryPolicy = DEFAULT_POLICY

    def repeat(self, call: Callable[[], T], /, *, nbytes: int = 0) -> T:
        """Make one request, which carries `nbytes`, until it succeeds or no repetition helps.

        Raises:
            S3Error: the last one.
            Stopped, ClaimLost: from the gate.
        """
        answer = repeat(
            call,
            nbytes=nbytes,
            gate=self.gate,
            take=self._take,
            source=self.connection.source,
            on_throttle=self.limits.throttled,
            policy=self.policy,
        )
        if self.limits.active:
            self.limits.succeeded()
        return answer

    def token(self) -> Token:
        """The keys of this moment, for requests that another process makes; waits out an outage of their provider.

        Raises:
            CredentialsError: there are none.
            Stopped, ClaimLost: from the gate.
        """
        return repeat(self.connection.source.token, gate=self.gate, policy=self.policy)

    def _take(self, nbytes: int) -> None:
        if self.limits.active:
            self.limits.take(nbytes, gate=self.gate)

    def stored_crc64nvme(self, key: str) -> str | None:
        """The CRC64NVME of the whole object in S3's form; None where S3 has none or must not tell."""

        def head() -> str | None:
            with s3_errors(key):
                found = self.connection.client.head_object(
                    Bucket=self.connection.location.bucket, Key=key, ChecksumMode="ENABLED"
                )
            whole = whole_crc64nvme(found)
            return None if whole is None else encode_crc64nvme(whole)

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

    def end_nameless_uploads(self, key: str, *, since: float) -> None:
        """End the uploads of `key` without parts that workers of this job may have begun; `since`: seconds since 1970.

        Raises:
            S3Error: they cannot be looked for, or one still stands.
        """
        bucket = self.connection.location.bucket
        end_nameless_uploads(self.connection.client, bucket, key, since=since, repeat=self.repeat)
