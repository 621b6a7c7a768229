"""What a transfer needs of S3, in one value: the engine, the boto3 client, the credentials, all for one location."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bulkhaul.errors import UsageError
from bulkhaul.s3.client import endpoint_of, make_client
from bulkhaul.s3.credentials import CredentialPool, CredentialSource
from bulkhaul.s3.endpoint import Endpoint, S3Options
from bulkhaul.s3.engine import Engine
from bulkhaul.s3.location import S3Location


@dataclass(frozen=True, slots=True)
class Connection:
    """A location with all that reaches it; safe from many threads, but not across a fork.

    `across_processes`: another process can make the engine's puts from endpoint, options and a token alone.
    """

    location: S3Location
    engine: Engine
    portable: Engine
    client: Any
    source: CredentialSource
    options: S3Options
    endpoint: Endpoint
    across_processes: bool = False


def connector(options: S3Options, credentials: CredentialPool) -> Callable[[S3Location], Connection]:
    """A function that connects to one location after the other, and keeps what serves a bucket.

    A client of its own for each dataset would take 30 ms and shake hands anew for each request in flight.
    """
    made: dict[str, Connection] = {}

    def reach(location: S3Location) -> Connection:
        known = made.get(location.bucket)
        if known is None or known.source is not credentials.for_location(location):
            known = made[location.bucket] = connect(location, options=options, credentials=credentials)
        return replace(known, location=location)

    return reach


def connect(location: S3Location, *, options: S3Options, credentials: CredentialPool) -> Connection:
    """Everything for `location`; makes no request, not even for credentials.

    `engine` is the one chosen (`auto`: the fast one where it can be loaded), `portable` is always boto3's.

    Raises:
        UsageError: no such profile, an endpoint that is no URL, or an engine that is not installed.
    """
    source = credentials.for_location(location)
    client = make_client("s3", options, source=source)
    endpoint = endpoint_of(client, options)
    portable = _portable_engine(location.bucket, client)
    engine = (
        portable if options.engine == "s3transfer" else _fast_engine(location.bucket, client, source, endpoint, options)
    )
    return Connection(
        location=location,
        engine=engine or portable,
        portable=portable,
        client=client,
        source=source,
        options=options,
        endpoint=endpoint,
        across_processes=engine is not None and engine is not portable,
    )


def _portable_engine(bucket: str, client: Any) -> Engine:
    from bulkhaul.s3.engine_s3transfer import S3TransferEngine

    return S3TransferEngine(bucket, client=client)


def _fast_engine(
    bucket: str, client: Any, source: CredentialSource, endpoint: Endpoint, options: S3Options
) -> Engine | None:
    """The fast engine; None where it is not installed and was not asked for by name."""
    try:
        from bulkhaul.s3.engine_obstore import ObstoreEngine
    except ImportError as error:
        if options.engine == "obstore":
            raise UsageError("obstore", f"cannot be loaded: {error}", "use `--engine s3transfer`") from error
        return None
    return ObstoreEngine(bucket, client=client, source=source, endpoint=endpoint, options=options)
