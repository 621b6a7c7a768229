"""Both engines, made for a server and keys as `connect` makes them."""

from __future__ import annotations

from collections.abc import Callable

from bulkhaul.s3.client import endpoint_of, make_client
from bulkhaul.s3.credentials import CredentialSource
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.engine import Engine
from bulkhaul.s3.engine_obstore import ObstoreEngine
from bulkhaul.s3.engine_s3transfer import S3TransferEngine
from s3.reach import fixed_source
from servers.seaweed import ADMIN, Keys, Seaweed
from servers.stub_s3 import StubS3

MakeEngine = Callable[[str, CredentialSource, S3Options], Engine]
"""(bucket, source, options) -> engine."""


def make_obstore(bucket: str, source: CredentialSource, options: S3Options) -> Engine:
    client = make_client("s3", options, source=source)
    return ObstoreEngine(bucket, client=client, source=source, endpoint=endpoint_of(client, options), options=options)


def make_s3transfer(bucket: str, source: CredentialSource, options: S3Options) -> Engine:
    return S3TransferEngine(bucket, client=make_client("s3", options, source=source))


ENGINES = {"obstore": make_obstore, "s3transfer": make_s3transfer}


def on_seaweed(make: MakeEngine, server: Seaweed, bucket: str, keys: Keys = ADMIN) -> Engine:
    """An engine on the real server."""
    return make(bucket, fixed_source(keys.access_key, keys.secret_key), S3Options(endpoint_url=server.url))


def on_stub(make: MakeEngine, stub: StubS3, **options: float) -> Engine:
    """An engine on the stub, with keys that do not end."""
    token = stub.tokens.issue(None)
    source = fixed_source(token.access_key, token.secret_key, token.session_token)
    return make("bucket", source, S3Options(endpoint_url=stub.url, **options))  # type: ignore[arg-type]
