"""Ways to S3 for the tests of this folder: a source of given keys, a client, a connection without an engine."""

from __future__ import annotations

from typing import Any, cast

from bulkhaul.s3.client import endpoint_of, make_client
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.credentials import CredentialSource, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.engine import Engine
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from servers.stub_s3 import StubS3


def fixed_source(access_key: str, secret_key: str, session_token: str | None = None) -> CredentialSource:
    """A source of fixed keys."""
    token = Token(access_key, secret_key, session_token)
    return CredentialSource(lambda _location: Grant(token, renewable=False), S3Location("any-bucket"))


def client_for(url: str, access_key: str, secret_key: str, **options: Any) -> Any:
    """The client under test at `url`."""
    return make_client("s3", S3Options(endpoint_url=url, **options), source=fixed_source(access_key, secret_key))


def connection_to(url: str, location: S3Location, source: CredentialSource) -> Connection:
    """A connection for what needs no engine; using one fails at once."""
    options = S3Options(endpoint_url=url)
    client = make_client("s3", options, source=source)
    no_engine = cast(Engine, None)
    return Connection(
        location=location,
        engine=no_engine,
        portable=no_engine,
        client=client,
        source=source,
        options=options,
        endpoint=endpoint_of(client, options),
    )


def client_for_stub(stub: StubS3, **options: Any) -> Any:
    """A client of the stub with keys that do not end."""
    token = stub.tokens.issue(None)
    return client_for(stub.url, token.access_key, token.secret_key, **options)
