"""What the server really does, tried out below the target: nothing is believed and nothing is downgraded in silence.

The probe writes two small objects whose keys begin with `<prefix>/.bulkhaul-probe-<token>` and begins one multipart
upload; all are removed, or named where the removal is refused. What a transfer cannot do without is an error, the rest
is a stated mode. Objects and the upload are tried at the same time: over a wide area each request is a round trip.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from bulkhaul.errors import (
    AccessDenied,
    BucketUnusable,
    IntegrityFailed,
    NoMatchingGrant,
    NoSuchObject,
    ObjectRefused,
    S3Error,
)
from bulkhaul.s3.checksums import crc64nvme, encode_crc64nvme
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.features import Features
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.retry import Gate, RetryPolicy, open_gate, repeat

_LOG = logging.getLogger(__name__)

PROBE_NAME = ".bulkhaul-probe-"
"""How the names of the probe's objects begin, below a target's prefix."""

# Nothing is at stake yet: who waits for this wants to know soon that the endpoint does not answer.
_POLICY = RetryPolicy(tries=3, throttle_budget=60.0)

# A server or a policy that does without: other errors are faults and end the probe.
_LACKS = (AccessDenied, BucketUnusable, ObjectRefused, NoSuchObject)


def new_token() -> str:
    """The token of one probe: it is in the names of all that the probe writes."""
    return uuid.uuid4().hex


def probe(connection: Connection, token: str, *, gate: Gate = open_gate) -> Features:
    """Try the server's features below the connection's location; some fifteen small requests.

    Raises:
        AccessDenied: no right to list or to write there; it names the right to ask for.
        BucketUnusable: the bucket is missing, in another region, or its server refuses checksums.
        S3Error: any other fault, after the usual repetitions.
    """
    trial = _Trial(connection, token, gate)
    trial.check_listing()
    with trial.cleanup() as leftovers, ThreadPoolExecutor(1, thread_name_prefix="probe") as beside:
        # Alone: the first write into a new bucket makes SeaweedFS grow a volume, and of two one waits a second more.
        first = trial.probe_first_write()
        multipart = beside.submit(trial.probe_multipart)
        features = Features(**first, **trial.probe_object(), **multipart.result())
    return replace(features, leftovers=tuple(leftovers))


def check_access(connection: Connection, token: str, *, gate: Gate = open_gate) -> None:
    """Make sure of listing and writing below the location: what can change after a probe; three small requests.

    Raises:
        AccessDenied, BucketUnusable, S3Error: as from `probe`.
    """
    trial = _Trial(connection, token, gate)
    trial.check_listing()
    with trial.cleanup():
        trial.put()


def check_listing(connection: Connection, *, gate: Gate = open_gate) -> None:
    """Make sure of listing below the location: all that a step which writes nothing needs; one small request.

    Raises:
        AccessDenied, BucketUnusable, S3Error: as from `probe`.
    """
    _Trial(connection, new_token(), gate).check_listing()


def remove_probe(connection: Connection, token: str, *, gate: Gate = open_gate) -> None:
    """Remove what a probe with this token, cut off anywhere, left below the connection's location; three requests.

    Where removal is refused it stays, as it does after each probe there.

    Raises:
        S3Error: a fault, after the usual repetitions; something may be left.
    """
    _Trial(connection, token, gate).remove_all()


class _Trial:
    """One probe that goes on: its key, its bytes, and what it has to remove at the end."""

    def __init__(self, connection: Connection, token: str, gate: Gate) -> None:
        self._connection = connection
        self._gate = gate
        self._location = connection.location
        # `-` sorts before `/` in S3; a server that keeps a folder as a folder lists `x/y` where `x` belongs.
        self._key = connection.location.key(f"{PROBE_NAME}{token}-a")
        self._key_after = connection.location.key(f"{PROBE_NAME}{token}/b")
        self._name = str(S3Location(self._location.bucket, self._key))
        self._body = f"bulkhaul probe {token}\n".encode()
        self._crc = encode_crc64nvme(crc64nvme(self._body))
        self._wrong = encode_crc64nvme(crc64nvme(self._body) ^ 1)
        self._written: list[str] = []
        self._upload_id: str | None = None

    def check_listing(self) -> None:
        prefix = self._location.listing_prefix
        with _right("s3:ListBucket", self._location):
            answer = self._call("list_objects_v2", thing=str(self._location), Prefix=prefix, MaxKeys=1)
        region = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        endpoint = self._connection.endpoint
        # boto3 follows a bucket to its region by itself, the other engine does not.
        if region and endpoint.url is None and region != endpoint.region:
            raise BucketUnusable(
                f"bucket {self._location.bucket}",
                f"it lies in region {region}, the settings say {endpoint.region}",
                f"set `region` or AWS_REGION to {region}",
            )

    def probe_first_write(self) -> dict[str, Any]:
        with _right("s3:PutObject", self._location):
            self._written.append(self._key)  # even when the answer is lost
            return {"checksum_enforced": self._damage_refused("put_object", Key=self._key, Body=self._body)}

    def probe_object(self) -> dict[str, Any]:
        self.put()
        try:
            head = self._call("head_object", Key=self._key, ChecksumMode="ENABLED")
        except _LACKS:
            head = None
        return {
            "conditional_put": self._conditional_put(),
            "head": head is not None,
            "checksum_stored": head is not None and head.get("ChecksumCRC64NVME") == self._crc,
            "lists_in_byte_order": self._lists_in_byte_order(),
        }

    def probe_multipart(self) -> dict[str, Any]:
        whole = self._create_upload(ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
        if not whole and not self._create_upload():
            return {}
        upload = {"Key": self._key, "UploadId": self._upload_id}
        part = {**upload, "PartNumber": 1, "Body": self._body}
        enforced = self._damage_refused("upload_part", **part)
        sent = self._allowed("upload_part", **part, ChecksumCRC64NVME=self._crc)
        return {
            "multipart": sent,
            "multipart_checksum": whole and sent,
            "part_checksum_enforced": enforced and sent,
            "list_parts": self._allowed("list_parts", **upload),
            "list_uploads": self._allowed("list_multipart_uploads", Prefix=self._key),
        }

    @contextmanager
    def cleanup(self) -> Iterator[list[str]]:
        """Remove at the end what was written, whatever happened; the list names what had to stay."""
        leftovers: list[str] = []
        try:
            yield leftovers
        finally:
            removals = dict(self._removals())
            with ThreadPoolExecutor(3, thread_name_prefix="probe") as pool:
                removed = pool.map(lambda remove: remove(), removals.values())
            leftovers += [name for name, gone in zip(removals, removed, strict=True) if not gone]

    def _removals(self) -> Iterator[tuple[str, Callable[[], bool]]]:
        """What has to go, by name, and how."""
        if upload := self._upload_id:
            abort = partial(self._removed, "abort_multipart_upload", Key=self._key, UploadId=upload)
            yield f"multipart upload {upload} of {self._name}", abort
        for key in dict.fromkeys(self._written):
            yield str(S3Location(self._location.bucket, key)), partial(self._removed, "delete_object", Key=key)

    def remove_all(self) -> None:
        self._allowed("delete_object", Key=self._key)
        self._allowed("delete_object", Key=self._key_after)
        try:
            uploads = self._call("list_multipart_uploads", Prefix=self._key).get("Uploads", ())
        except _LACKS:
            return
        for upload in uploads:
            self._allowed("abort_multipart_upload", Key=self._key, UploadId=upload["UploadId"])

    def put(self) -> None:
        self._written.append(self._key)  # even when the answer is lost
        try:
            with _right("s3:PutObject", self._location):
                self._call("put_object", Key=self._key, Body=self._body, ChecksumCRC64NVME=self._crc)
        except (ObjectRefused, BucketUnusable, IntegrityFailed) as error:
            raise BucketUnusable(
                f"bucket {self._location.bucket}",
                f"its server does not take an object with a CRC64NVME checksum: {error.reason}",
                "use a server that does; bulkhaul sends nothing that cannot be proved",
            ) from error

    def _create_upload(self, **extra: str) -> bool:
        try:
            self._upload_id = self._call("create_multipart_upload", Key=self._key, **extra)["UploadId"]
        except _LACKS as error:
            _LOG.debug("no multipart upload with %s: %s", extra, error)
            return False
        return True

    def _damage_refused(self, operation: str, **arguments: Any) -> bool:
        try:
            self._call(operation, **arguments, ChecksumCRC64NVME=self._wrong)
        except IntegrityFailed:
            return True
        except (BucketUnusable, ObjectRefused):
            return False  # it does not know the request; the next one shows what that means
        return False

    def _conditional_put(self) -> bool:
        try:
            self._call("put_object", Key=self._key, Body=self._body, IfNoneMatch="*")
        except _LACKS as error:
            return error.code in {"PreconditionFailed", "ConditionalRequestConflict"}
        return False

    def _lists_in_byte_order(self) -> bool:
        self._written.append(self._key_after)
        if not self._allowed("put_object", Key=self._key_after, Body=b""):
            return False
        answer = self._call("list_objects_v2", Prefix=self._key.removesuffix("-a"))
        return [found["Key"] for found in answer.get("Contents", ())] == [self._key, self._key_after]

    def _allowed(self, operation: str, **arguments: Any) -> bool:
        try:
            self._call(operation, **arguments)
        except _LACKS as error:
            _LOG.debug("%s is not to be had: %s", operation, error)
            return False
        return True

    def _removed(self, operation: str, **arguments: Any) -> bool:
        try:
            self._call(operation, **arguments)
        except S3Error as error:
            _LOG.debug("%s of the probe failed: %s", operation, error)
            return isinstance(error, NoSuchObject)
        return True

    def _call(self, operation: str, *, thing: str | None = None, **arguments: Any) -> Any:
        method: Callable[..., Any] = getattr(self._connection.client, operation)

        def request() -> Any:
            with s3_errors(thing or self._name):
                return method(Bucket=self._location.bucket, **arguments)

        return repeat(request, gate=self._gate, source=self._connection.source, policy=_POLICY)


@contextmanager
def _right(name: str, location: S3Location) -> Iterator[None]:
    """Name the right that is missing in a refusal inside."""
    try:
        yield
    except NoMatchingGrant:
        raise  # it was not S3 that refused, and it names its own next step
    except AccessDenied as error:
        raise AccessDenied(location, error.reason, f"ask for {name} there", code=error.code) from error
