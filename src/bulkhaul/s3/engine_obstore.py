"""The fast engine: puts through obstore, lists through boto3's pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bulkhaul.s3.credentials import CredentialSource
from bulkhaul.s3.endpoint import Endpoint, S3Options
from bulkhaul.s3.engine import RemoteObject, Repeat, once
from bulkhaul.s3.obstore_puts import ObstorePuts
from bulkhaul.s3.pages import list_pages, parse_lightly


class ObstoreEngine:
    """Puts through one obstore store and lists through the boto3 `client`, both safe from many threads.

    Raises:
        UsageError: the CA bundle cannot be read.
    """

    name = "obstore"

    def __init__(
        self, bucket: str, *, client: Any, source: CredentialSource, endpoint: Endpoint, options: S3Options
    ) -> None:
        self._bucket = bucket
        self._client = client
        parse_lightly(client)
        self._puts = ObstorePuts(bucket, token=source.token, endpoint=endpoint, options=options)

    def put(self, key: str, body: bytes, *, crc64nvme: str) -> str:  # noqa: ARG002 - see `obstore_puts`
        """Store `body`, with a checksum that the server compares; return the ETag without quotes.

        Raises:
            S3Error: of the class that says what to do about it.
        """
        return self._puts.put(key, body)

    def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
        """Yield the objects whose key begins with `prefix`, exactly as the server has them, in its order.

        Raises:
            S3Error: also in mid-listing; what was yielded before stands.
        """
        for page in list_pages(self._client, self._bucket, prefix, after=after, repeat=repeat):
            yield from page
