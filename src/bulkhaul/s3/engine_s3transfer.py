"""The portable engine: boto3. It sends whatever key and to whatever server botocore can.

A put is made in the calling thread. s3transfer's TransferManager would do it in threads of its own behind queues of its
own and drops the answer's ETag, which verification needs; with the ETag caught by event handlers it costs a quarter
more CPU a put and is slower (docs/performance.md). s3transfer's part arithmetic serves `multipart`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bulkhaul.errors import BucketUnusable
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.engine import RemoteObject, Repeat, once
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.pages import list_pages, parse_lightly


class S3TransferEngine:
    """Puts and lists through one boto3 client, which is safe from many threads."""

    name = "s3transfer"

    def __init__(self, bucket: str, *, client: Any) -> None:
        self._bucket = bucket
        self._client = client
        parse_lightly(client)

    def put(self, key: str, body: bytes, *, crc64nvme: str) -> str:
        """Store `body` with its checksum, which the server compares; return the ETag without quotes.

        Raises:
            S3Error: of the class that says what to do about it.
        """
        thing = str(S3Location(self._bucket, key))
        with s3_errors(thing):
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ChecksumCRC64NVME=crc64nvme)
        etag: str = answer.get("ETag", "").strip('"')
        if not etag:
            raise BucketUnusable(thing, "the server's answer has no ETag", "use another endpoint")
        return etag

    def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
        """Yield the objects whose key begins with `prefix`, exactly as the server has them, in its order.

        Raises:
            S3Error: also in mid-listing; what was yielded before stands.
        """
        for page in list_pages(self._client, self._bucket, prefix, after=after, repeat=repeat):
            yield from page
