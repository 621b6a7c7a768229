"""Both engines, made for a server and keys as `connect` makes them."""

from __future__ import annotations

from collections.abc import Callable

from bulkhaul.s3.client import S3Options, endpoint_of, make_client
from bulkhaul.s3.credentials import CredentialSource
from bulkhaul.s3.engine import Engine
from bulkhaul.s3.engine_obstore import ObstoreEngine
from bulkhaul.s3.engine_s3transfer import S3TransferEngine

MakeEngine = Callable[[str, CredentialSource, S3Options], Engine]
"""(bucket, source, options) -> engine."""


def make_obstore(bucket: str, source: CredentialSource, options: S3Options) -> Engine:
    endpoint = endpoint_of(make_client("s3", options, source=source), options)
    return ObstoreEngine(bucket, source=source, endpoint=endpoint, options=options)


def make_s3transfer(bucket: str, source: CredentialSource, options: S3Options) -> Engine:
    return S3TransferEngine(bucket, client=make_client("s3", options, source=source))


ENGINES = {"obstore": make_obstore, "s3transfer": make_s3transfer}
