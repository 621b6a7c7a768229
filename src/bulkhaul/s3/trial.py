"""What all parts of one probe share: the names that it writes under, its few bytes, and how it makes a request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from bulkhaul.errors import (
    AccessDenied,
    BucketUnusable,
    IntegrityFailed,
    NoSuchObject,
    ObjectRefused,
    S3Error,
    UploadGone,
)
from bulkhaul.s3.checksums import crc64nvme, encode_crc64nvme
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.policy import RetryPolicy
from bulkhaul.s3.retry import Gate, repeat

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

PROBE_NAME = ".bulkhaul-probe-"
"""How the names of the probe's objects begin, below a target's prefix."""

LACKS = (AccessDenied, BucketUnusable, ObjectRefused, NoSuchObject)
"""A server or a policy that does without: other errors are faults and end the probe."""

# Nothing is at stake yet: who waits for this wants to know soon that the endpoint does not answer.
_POLICY = RetryPolicy(tries=3, throttle_budget=60.0)


class Trial:
    """One probe that goes on; `written` are the keys of what it has to remove, and so are the `uploads` of `in_parts`.

    `-` sorts before `/` in S3; a server that keeps a folder as a folder lists `after` where `key` belongs.
    """

    def __init__(self, connection: Connection, token: str, gate: Gate) -> None:
        self.connection = connection
        self.gate = gate
        self.location = connection.location
        self.prefix = connection.location.key(f"{PROBE_NAME}{token}")
        self.key = f"{self.prefix}-a"
        self.after = f"{self.prefix}/b"
        self.in_parts = f"{self.prefix}-c"
        self.body = f"bulkhaul probe {token}\n".encode()
        self.crc = crc64nvme(self.body)
        self.written: list[str] = []
        self.uploads: list[str] = []
        self.doubtful = False

    def name(self, key: str) -> str:
        """The object in messages."""
        return str(S3Location(self.location.bucket, key))

    def unusable(self, reason: str, next_step: str) -> BucketUnusable:
        """The refusal of the whole bucket."""
        return BucketUnusable(f"bucket {self.location.bucket}", reason, next_step)

    def call(self, operation: str, *, thing: str | None = None, **arguments: Any) -> Any:
        """Make one request on the bucket, repeated as its class of error asks for."""
        method: Callable[..., Any] = getattr(self.connection.client, operation)

        def request() -> Any:
            with s3_errors(thing or self.name(self.key)):
                return method(Bucket=self.location.bucket, **arguments)

        return self.repeat(request)

    def repeat(self, call: Callable[[], T], /, *, nbytes: int = 0) -> T:  # noqa: ARG002 - nothing limits a probe
        """Make a request a few times at most."""
        return repeat(call, gate=self.gate, source=self.connection.source, policy=_POLICY)

    def damage_refused(self, operation: str, **arguments: Any) -> bool:
        """Whether a body whose checksum is another's is refused for that."""
        try:
            self.call(operation, **arguments, ChecksumCRC64NVME=encode_crc64nvme(self.crc ^ 1))
        except IntegrityFailed:
            return True
        except (BucketUnusable, ObjectRefused):
            return False  # it does not know the request; the next one shows what that means
        return False

    def allowed(self, operation: str, **arguments: Any) -> bool:
        """Whether a request is to be had."""
        try:
            self.call(operation, **arguments)
        except LACKS as error:
            _LOG.debug("%s is not to be had: %s", operation, error)
            return False
        return True

    def doubt(self) -> None:
        """Note that something may be in S3 that `written` and `uploads` do not tell, or that was not removed."""
        self.doubtful = True

    def removed(self, operation: str, **arguments: Any) -> bool:
        """Remove one thing; False where that is refused. After a fault it is in doubt."""
        try:
            self.call(operation, **arguments)
        except (NoSuchObject, UploadGone):
            return True
        except LACKS as error:
            _LOG.debug("%s of the probe is refused: %s", operation, error)
            return False
        except S3Error as error:
            _LOG.debug("%s of the probe failed: %s", operation, error)
            self.doubt()
        return True
