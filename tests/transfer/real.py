"""Real transfers for the tests: a connection to any server, and a child process that can be killed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bulkhaul.s3.connection import Connection, connect
from bulkhaul.s3.credentials import CredentialPool, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from bulkhaul.transfer.dataset import TransferOptions
from transfer.rig import Rig

MIB = 1 << 20
LARGE = 20 * MIB
SMALL_PARTS = {"multipart_threshold": 11 * MIB, "part_size": 5 * MIB, "listing_in_order": False}


def real_connection(url: str, bucket: str, engine: Any, token: Token, prefix: str = "p/plate") -> Connection:
    """A connection as the worker makes it, with fixed keys."""
    options = S3Options(engine=engine, endpoint_url=url, region="us-east-1")
    pool = CredentialPool(lambda _location: Grant(token, renewable=False))
    return connect(S3Location(bucket, prefix), options=options, credentials=pool)


def main(folder: str, url: str, bucket: str, engine: str, access_key: str, secret_key: str, session: str) -> None:
    """One generation in a process of its own."""
    connection = real_connection(url, bucket, engine, Token(access_key, secret_key, session))
    report = Rig(Path(folder), connection, TransferOptions(**SMALL_PARTS)).transfer()  # type: ignore[arg-type]
    assert report.ok, report


if __name__ == "__main__":
    main(*sys.argv[1:])
