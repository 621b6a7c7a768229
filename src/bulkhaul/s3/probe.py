"""What the server really does, tried out below the target: nothing is believed and nothing is downgraded in silence.

The probe writes three small objects whose keys begin with `<prefix>/.bulkhaul-probe-<token>`, one of them in parts;
all are removed, or named where the removal is refused. What a transfer cannot do without is an error, the rest
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
    ObjectRefused,
    S3Error,
)
from bulkhaul.s3.checksums import encode_crc64nvme, md5_hex
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.features import Features
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.pages import list_pages
from bulkhaul.s3.probe_multipart import probe_multipart
from bulkhaul.s3.retry import Gate, open_gate
from bulkhaul.s3.trial import LACKS, PROBE_NAME, Trial

_LOG = logging.getLogger(__name__)
OnDoubt = Callable[[], None]

__all__ = ["PROBE_NAME", "check_access", "check_listing", "new_token", "probe", "remove_probe"]

# Codes, and statuses without a code, of a server that does not know a request.
_UNKNOWN = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})


def new_token() -> str:
    """The token of one probe: it is in the names of all that the probe writes."""
    return uuid.uuid4().hex


def probe(connection: Connection, token: str, *, gate: Gate = open_gate, on_doubt: OnDoubt = lambda: None) -> Features:
    """Try the server's features below the connection's location; some sixteen small requests.

    `on_doubt` is called when something may have stayed there: `remove_probe` removes it once the server answers again.

    Raises:
        AccessDenied: no right to list or to write there; it names the right to ask for.
        BucketUnusable: the bucket is missing, in another region, or its server proves nothing.
        S3Error: any other fault, after the usual repetitions.
    """
    trial = Trial(connection, token, gate)
    _list_once(trial)
    with _cleanup(trial, on_doubt) as leftovers, ThreadPoolExecutor(1, thread_name_prefix="probe") as beside:
        # Alone: the first write into a new bucket makes SeaweedFS grow a volume, and of two one waits a second more.
        enforced = _first_write(trial)
        multipart = beside.submit(probe_multipart, trial)
        features = Features(checksum_enforced=enforced, **_probe_object(trial, enforced), **multipart.result())
    return replace(features, leftovers=tuple(leftovers))


def check_access(
    connection: Connection, token: str, *, gate: Gate = open_gate, on_doubt: OnDoubt = lambda: None
) -> None:
    """Make sure of listing and writing below the location: what can change after a probe; three small requests.

    `on_doubt` as for `probe`.

    Raises:
        AccessDenied, BucketUnusable, S3Error: as from `probe`.
    """
    trial = Trial(connection, token, gate)
    _list_once(trial)
    with _cleanup(trial, on_doubt):
        _put(trial, trial.key)


def check_listing(connection: Connection, *, gate: Gate = open_gate) -> None:
    """Make sure of listing below the location: all that a step which writes nothing needs; one small request.

    Raises:
        AccessDenied, BucketUnusable, S3Error: as from `probe`.
    """
    _list_once(Trial(connection, new_token(), gate))


def remove_probe(connection: Connection, token: str, *, gate: Gate = open_gate) -> None:
    """Remove what a probe with this token, cut off anywhere, left below the connection's location; a few requests.

    Where removal is refused it stays, as it does after each probe there.

    Raises:
        S3Error: a fault, after the usual repetitions; something may be left.
    """
    _remove_all(Trial(connection, token, gate))


def _remove_all(trial: Trial) -> None:
    for key in (trial.key, trial.after, trial.in_parts):
        trial.allowed("delete_object", Key=key)
    try:
        uploads = trial.call("list_multipart_uploads", Prefix=trial.prefix).get("Uploads", ())
    except LACKS:
        return
    for upload in uploads:
        trial.allowed("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])


def _list_once(trial: Trial) -> None:
    location = trial.location
    with _right("s3:ListBucket", location):
        answer = trial.call("list_objects_v2", thing=str(location), Prefix=location.listing_prefix, MaxKeys=1)
    region = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    endpoint = trial.connection.endpoint
    # boto3 follows a bucket to its region by itself, the other engine does not.
    if region and endpoint.url is None and region != endpoint.region:
        reason = f"it lies in region {region}, the settings say {endpoint.region}"
        raise trial.unusable(reason, f"set `region` or AWS_REGION to {region}")


def _first_write(trial: Trial) -> bool:
    """Whether the server refuses an object that is not what its checksum says."""
    trial.written.append(trial.key)  # even when the answer is lost
    with _right("s3:PutObject", trial.location):
        return trial.damage_refused("put_object", Key=trial.key, Body=trial.body)


def _probe_object(trial: Trial, enforced: bool) -> dict[str, Any]:
    etag = _put(trial, trial.key)
    if not enforced and etag.lower() != md5_hex(trial.body):
        raise trial.unusable(
            "its server compares no CRC64NVME and its ETags are no MD5s",
            "use a server that does; bulkhaul sends nothing that cannot be proved",
        )
    try:
        head = trial.call("head_object", Key=trial.key, ChecksumMode="ENABLED")
    except LACKS:
        head = None
    return {
        "conditional_put": _conditional_put(trial),
        "head": head is not None,
        "checksum_stored": head is not None and head.get("ChecksumCRC64NVME") == encode_crc64nvme(trial.crc),
        **_probe_listing(trial),
    }


def _probe_listing(trial: Trial) -> dict[str, Any]:
    """Whether what was just put is listed at once, and in byte order."""
    put = (len(trial.body), _put(trial, trial.after))
    location, client = trial.location, trial.connection.client
    pages = list_pages(client, location.bucket, trial.prefix, after="", repeat=trial.repeat)
    found = {one.key: (one.size, one.etag) for page in pages for one in page if one.key != trial.in_parts}
    listed = found.get(trial.after, put)
    if listed != put:
        reason = f"its server lists other bytes or another ETag than were put: {listed} instead of {put}"
        raise trial.unusable(reason, "use another server; bulkhaul sends nothing that cannot be proved")
    return {
        "lists_at_once": found.keys() == {trial.key, trial.after},
        "lists_in_byte_order": list(found) == [trial.key, trial.after],
    }


def _conditional_put(trial: Trial) -> bool:
    try:
        trial.call("put_object", Key=trial.key, Body=trial.body, IfNoneMatch="*")
    except LACKS as error:
        return error.code in {"PreconditionFailed", "ConditionalRequestConflict"}
    return False


def _put(trial: Trial, key: str) -> str:
    """Store the probe's bytes as a transfer does; the ETag without quotes."""
    trial.written.append(key)  # even when the answer is lost
    step = "use a server that does; bulkhaul sends nothing that cannot be proved"
    checksum = encode_crc64nvme(trial.crc)
    try:
        with _right("s3:PutObject", trial.location):
            answer = trial.call("put_object", Key=key, Body=trial.body, ChecksumCRC64NVME=checksum)
    except (ObjectRefused, BucketUnusable, IntegrityFailed) as error:
        if isinstance(error, BucketUnusable) and error.code not in _UNKNOWN:
            raise  # it lies elsewhere, or is not there
        reason = f"its server does not take an object with a CRC64NVME checksum: {error.reason}"
        raise trial.unusable(reason, step) from error
    etag: str = answer.get("ETag", "").strip('"')
    if not etag:
        raise trial.unusable("its server's answer to a put has no ETag", step)
    return etag


@contextmanager
def _cleanup(trial: Trial, on_doubt: OnDoubt) -> Iterator[list[str]]:
    """Remove at the end what was written, whatever happened; the list names what had to stay."""
    leftovers: list[str] = []
    try:
        yield leftovers
    finally:
        removals = dict(_removals(trial))
        with ThreadPoolExecutor(3, thread_name_prefix="probe") as pool:
            removed = pool.map(lambda remove: remove(), removals.values())
        leftovers += [name for name, gone in zip(removals, removed, strict=True) if not gone]
        if trial.doubtful:
            # An upload whose id was lost with its answer is found by the name of its key.
            try:
                _remove_all(trial)
            except S3Error as error:
                _LOG.debug("the probe below %s may have left something: %s", trial.location, error)
                on_doubt()


def _removals(trial: Trial) -> Iterator[tuple[str, Callable[[], bool]]]:
    """What has to go, by name, and how."""
    key = trial.in_parts
    for upload in trial.uploads:
        abort = partial(trial.removed, "abort_multipart_upload", Key=key, UploadId=upload)
        yield f"multipart upload {upload} of {trial.name(key)}", abort
    for key in sorted(set(trial.written)):
        yield trial.name(key), partial(trial.removed, "delete_object", Key=key)


@contextmanager
def _right(name: str, location: S3Location) -> Iterator[None]:
    """Name the right that is missing in a refusal inside."""
    try:
        yield
    except NoMatchingGrant:
        raise  # it was not S3 that refused, and it names its own next step
    except AccessDenied as error:
        raise AccessDenied(location, error.reason, f"ask for {name} there", code=error.code) from error
