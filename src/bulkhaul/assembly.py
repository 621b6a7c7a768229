"""Turn settings into the parts that a step needs. Heavy libraries are loaded inside, when a part is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhaul.errors import UsageError

if TYPE_CHECKING:
    from bulkhaul.joblist.heartbeat import LeaseTimes
    from bulkhaul.s3.connection import Connection
    from bulkhaul.s3.credentials import Provider
    from bulkhaul.s3.endpoint import S3Options
    from bulkhaul.s3.location import S3Location
    from bulkhaul.settings import Settings
    from bulkhaul.sources.layouts import Layout
    from bulkhaul.transfer.terms import TransferOptions

_SENDERS = 4  # each sends some 10,000 small files a second; a prefix of S3 takes 3,500 puts


def lease_times(settings: Settings) -> LeaseTimes:
    """The lease; UsageError when `heartbeat` is too long for `lease_ttl`."""
    from bulkhaul.joblist.heartbeat import LeaseTimes

    return LeaseTimes(ttl=settings.lease_ttl, heartbeat=settings.heartbeat)


def s3_options(settings: Settings) -> S3Options:
    """How to reach the S3 server."""
    from bulkhaul.s3.endpoint import S3Options

    return S3Options(
        engine=settings.engine,
        endpoint_url=settings.endpoint_url,
        region=settings.region,
        profile=settings.profile,
        ca_bundle=None if settings.ca_bundle is None else str(settings.ca_bundle),
        addressing_style=settings.addressing_style,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_connections=settings.max_concurrency,
    )


def transfer_options(settings: Settings) -> TransferOptions:
    """How datasets are sent, and how fast."""
    from math import inf

    from bulkhaul.s3.endpoint import fast_engine_installed
    from bulkhaul.transfer.limits import Rates
    from bulkhaul.transfer.terms import SyncLevel, TransferOptions

    # boto3's engine is made for what the fast one cannot do, not for speed.
    fast = settings.engine != "s3transfer" and fast_engine_installed()
    return TransferOptions(
        sync_level=SyncLevel(settings.sync_level),
        multipart_threshold=int(settings.multipart_threshold),
        part_size=int(settings.part_size),
        max_concurrency=settings.max_concurrency,
        manifest_upload=settings.manifest_upload,
        sender_processes=min(_SENDERS, len(os.sched_getaffinity(0))) if fast else 0,
        worker_limits=Rates(settings.max_requests or inf, settings.max_bandwidth or inf),
        joblist_limits=Rates(settings.joblist_max_requests or inf, settings.joblist_max_bandwidth or inf),
    )


def dataset_layout(settings: Settings) -> Layout:
    """The layout that `layout` names, a site's own before a preset; UsageError when there is none."""
    from bulkhaul.sources.layouts import JUMP, Layout, folders

    own = settings.layouts.get(settings.layout)
    if own is not None:
        return Layout(name=settings.layout, path=own.path, job_name=own.name, key=own.key, requires=own.requires)
    if settings.layout == JUMP.name:
        return JUMP
    if settings.layout == "folders":
        return folders(settings.depth)
    known = ", ".join([JUMP.name, "folders", *settings.layouts])
    raise UsageError(f"layout {settings.layout!r} ({settings.origin('layout')})", "no such layout", f"choose {known}")


def provider(settings: Settings) -> Provider:
    """Where credentials come from; UsageError when a setting that the kind needs is missing."""
    from bulkhaul.s3 import providers
    from bulkhaul.s3.location import S3Location

    options = s3_options(settings)
    if settings.credentials == "access-grants":
        target = settings.access_grants_target
        return providers.access_grants(
            settings.needed("access_grants_account"),
            options,
            target=S3Location.parse(target) if target else None,
            permission=settings.access_grants_permission,
            privilege=settings.access_grants_privilege,
            duration=settings.access_grants_duration,
        )
    if settings.credentials == "assume-role":
        return providers.assume_role(settings.needed("role_arn"), options)
    if settings.credentials == "command":
        return providers.command(settings.needed("credential_command"))
    return providers.default_chain(options)


def connector(settings: Settings) -> Callable[[S3Location], Connection]:
    """A function that connects to a target; all its connections share one pool of credentials."""
    from bulkhaul.s3 import connection
    from bulkhaul.s3.credentials import CredentialPool

    return connection.connector(s3_options(settings), CredentialPool(provider(settings)))


def target_finder(settings: Settings) -> Callable[[Path], str]:
    """A function from a source to its target, for the three-line job files that name none.

    The function raises UsageError when no target is set or the source does not fit the layout.
    """

    def find(source: Path) -> str:
        from bulkhaul.sources.layouts import target_of

        return target_of(dataset_layout(settings), source, settings.needed("target"))

    return find


def joblist_folder(settings: Settings) -> Path:
    """The joblist to work on: `joblist`, else the only one below `joblists` (the example does not count).

    Raises:
        UsageError: none or several; it lists them.
    """
    if settings.joblist is not None:
        return settings.joblist
    place = settings.joblists
    found = sorted(folder for folder in _folders_with_jobs(place) if folder.name != "example")
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(place, "holds no joblist", "make one with `bulkhaul extract`, or name one: --input_path DIR")
    choices = ", ".join(folder.name for folder in found)
    raise UsageError(place, f"holds several joblists: {choices}", "name one: --input_path DIR")


def _folders_with_jobs(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return [folder for folder in place.iterdir() if folder.is_dir() and any(folder.glob("[!.]*.txt"))]
