"""The part of the check that asks S3: credentials, the right to write, what earlier work has left.

Jobs whose targets lie side by side form one group, and one of them speaks for it: 200 plates of a batch cost one
probe. Once a bucket turns out unreachable or unusable, its other groups are not tried.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from bulkhaul.check.findings import Examples, Finding, Target
from bulkhaul.errors import AccessDenied, BulkhaulError, CredentialsError, S3Error
from bulkhaul.messages import Mark, Message, Say
from bulkhaul.preflight import Connect
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.credentials import CredentialSource
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.probe import PROBE_NAME, new_token, probe
from bulkhaul.stopping import utc_now


def check_targets(targets: Iterable[Target], *, connect: Connect, say: Say) -> Iterator[Finding]:
    """Yield what is wrong with buckets, rights and credentials, and what lies around below the targets."""
    groups: defaultdict[S3Location, list[S3Location]] = defaultdict(list)
    for target in targets:
        groups[_parent(target.location)].append(target.location)
    unusable: set[str] = set()
    told: set[tuple[str, str]] = set()
    sources: list[CredentialSource] = []
    for parent, locations in sorted(groups.items(), key=lambda group: str(group[0])):
        if parent.bucket in unusable:
            continue
        try:
            connection = connect(locations[0])
            features = probe(connection, new_token())
            if connection.source not in sources:  # S3 has just taken its signature
                sources.append(connection.source)
                yield from _check_credentials(connection.source, say)
            yield from (Finding(str(parent), note, "transfers allow for it") for note in features.notes())
            say(Message(Mark.INFO, f"Writable: {parent} ({len(locations)} job(s))"))
            say(Message(Mark.INFO, f"Server: {features}", detail=2))
            yield from _check_leftovers(connection, parent, locations)
        except BulkhaulError as error:
            fault = (parent.bucket, error.reason)
            if isinstance(error, AccessDenied) or fault not in told:
                yield Finding.of(error)
            # A denial or a missing grant may hold for one prefix only, the same words twice hold for all.
            if not isinstance(error, CredentialsError) or (fault in told and not isinstance(error, AccessDenied)):
                unusable.add(parent.bucket)
            told.add(fault)


def _parent(location: S3Location) -> S3Location:
    return S3Location(location.bucket, location.prefix.rpartition("/")[0])


def _check_credentials(source: CredentialSource, say: Say) -> Iterator[Finding]:
    end = source.token().expires_at
    if end is None:
        say(Message(Mark.INFO, f"Credentials for {source.location}: live, no end known"))
        return
    how = "renewed before they end" if source.renewable else "fixed"
    say(Message(Mark.INFO, f"Credentials for {source.location}: live until {end:%Y-%m-%dT%H:%M:%SZ}, {how}"))
    if source.ends_within_a_transfer is not None:
        minutes = int((end - utc_now()).total_seconds() // 60)
        reason = f"the credentials are fixed and end in {minutes} minutes, perhaps in the middle of a dataset"
        yield Finding(str(source.location), reason, "log in again just before the transfer, or use renewable ones")


def _check_leftovers(connection: Connection, parent: S3Location, locations: list[S3Location]) -> Iterator[Finding]:
    below = tuple(location.listing_prefix for location in locations)
    try:
        uploads = Examples(repr(key) for key in _open_uploads(connection, parent) if key.startswith(below))
        probes = Examples(repr(key) for prefix in below for key in _old_probes(connection, prefix))
    except S3Error as error:
        yield Finding(str(parent), f"leftovers cannot be listed: {error.reason}", "a transfer works without that right")
        return
    if uploads.count:
        reason = f"{uploads.count} unfinished multipart upload(s): {uploads}"
        yield Finding(str(parent), reason, "the transfer goes on with its own; a lifecycle rule can end others")
    if probes.count:
        yield Finding(str(parent), f"{probes.count} object(s) of earlier probes: {probes}", "remove them")


def _open_uploads(connection: Connection, parent: S3Location) -> Iterator[str]:
    with s3_errors(parent):
        pages = connection.client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=parent.bucket, Prefix=parent.listing_prefix):
            for upload in page.get("Uploads", []):
                yield upload["Key"]


def _old_probes(connection: Connection, prefix: str) -> Iterator[str]:
    for found in connection.portable.list_objects(f"{prefix}{PROBE_NAME}"):
        yield found.key
