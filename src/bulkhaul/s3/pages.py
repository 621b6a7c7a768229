"""The pages of a listing, exactly as the server has the keys; what both engines list with.

boto3 lists here for the fast engine too, because obstore's paths lose what S3 keeps: it drops the `/` at a key's ends,
so that the folder marker `a/` and the object `a` become one, and a foreign key with a newline ends the whole listing.
Each page is a request of its own, so a failed one is repeated alone. botocore spends 75 us a key on its parser (dates
above all), which would be most of a listing's time; a page's objects are therefore read by a parser that takes the
three fields that count: 15 us a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from botocore.parsers import ResponseParserError

from bulkhaul.errors import BucketUnusable, Transient
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.engine import RemoteObject, Repeat
from bulkhaul.s3.location import S3Location


def parse_lightly(client: Any) -> None:
    """Make `client` read pages of `list_objects_v2` fast: each object with key, size and ETag, and nothing else."""
    client.meta.events.register("before-parse.s3.ListObjectsV2", _parse_objects, unique_id="bulkhaul-listings")


def list_pages(client: Any, bucket: str, prefix: str, *, repeat: Repeat) -> Iterator[list[RemoteObject]]:
    """Yield the objects whose key begins with `prefix`, in the server's order, a page at a time.

    Raises:
        BucketUnusable: the server says that more objects follow and does not say where.
        S3Error: what `repeat` could not cure.
    """
    where = str(S3Location(bucket, prefix))
    token: str | None = None
    while True:
        page = repeat(lambda after=token: _get_page(client, bucket, prefix, after, where))  # type: ignore[misc]
        yield [RemoteObject(one["Key"], int(one["Size"]), one["ETag"].strip('"')) for one in page.get("Contents", ())]
        if not page["IsTruncated"]:
            return
        following = page.get("NextContinuationToken")
        if not following or following == token:
            raise BucketUnusable(where, "the server breaks off its listing without an end", "use another endpoint")
        token = following


def _get_page(client: Any, bucket: str, prefix: str, token: str | None, where: str) -> Any:
    # botocore asks for `encoding-type=url` by itself and decodes the keys, so newlines and the like survive the XML.
    after = {} if token is None else {"ContinuationToken": token}
    try:
        with s3_errors(where):
            page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **after)
    except ResponseParserError:
        page = {}
    # botocore takes an empty body, or a proxy's page, for a listing of nothing.
    if "IsTruncated" not in page:
        raise Transient(where, "the answer is no listing", "check the endpoint and the proxy")
    return page


def _parse_objects(response_dict: Any, customized_response_dict: Any, **_event: Any) -> None:
    """Take the objects out of a page before botocore parses the rest; other answers and odd ones are left to it."""
    if response_dict["status_code"] != 200:
        return
    try:
        root = ElementTree.fromstring(response_dict["body"])  # noqa: S314 - botocore's own parser is this one too
        found = root.findall(f"{{{_namespace(root)}}}Contents")
        objects = [_object(one, _namespace(root)) for one in found]
    except (ElementTree.ParseError, ValueError):
        return
    for one in found:
        root.remove(one)
    response_dict["body"] = ElementTree.tostring(root)
    if objects:
        customized_response_dict["Contents"] = objects


def _namespace(root: ElementTree.Element) -> str:
    return root.tag[1:].partition("}")[0] if root.tag.startswith("{") else ""


def _object(found: ElementTree.Element, namespace: str) -> dict[str, Any]:
    key, size, etag = (found.findtext(f"{{{namespace}}}{field}", "") for field in ("Key", "Size", "ETag"))
    return {"Key": key, "Size": int(size), "ETag": etag}
