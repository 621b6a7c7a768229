"""The pages of a listing, exactly as the server has the keys; what both engines list with.

boto3 lists here for the fast engine too, because obstore's paths lose what S3 keeps: it drops the `/` at a key's ends,
so that the folder marker `a/` and the object `a` become one, and a foreign key with a newline ends the whole listing.
Each page is a request of its own, so a failed one is repeated alone. botocore spends 75 us a key on its parser (dates
above all), which would be most of a listing's time; a page's objects are therefore read by a parser that takes the
three fields that count: 4 to 9 us a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import unescape

from bulkhaul.errors import BucketUnusable, Transient
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.engine import RemoteObject, Repeat
from bulkhaul.s3.location import S3Location


def parse_lightly(client: Any) -> None:
    """Make `client` read pages of `list_objects_v2` fast: each object with key, size and ETag, and nothing else."""
    # The wildcard comes before botocore's own handlers, one of which goes through the whole body with a second parser.
    client.meta.events.register_first("before-parse.*.ListObjectsV2", _parse_objects, unique_id="bulkhaul-listings")


def list_pages(client: Any, bucket: str, prefix: str, *, after: str, repeat: Repeat) -> Iterator[list[RemoteObject]]:
    """Yield the objects whose key begins with `prefix` and comes after `after`, in the server's order, page by page.

    Raises:
        BucketUnusable: the server says that more objects follow and does not say where.
        S3Error: what `repeat` could not cure.
    """
    where = str(S3Location(bucket, prefix))
    token: str | None = None
    begin = {"StartAfter": after} if after else {}
    while True:
        page = repeat(lambda begin=begin: _get_page(client, bucket, prefix, begin, where))  # type: ignore[misc]
        yield [RemoteObject(one["Key"], int(one["Size"]), one["ETag"].strip('"')) for one in page.get("Contents", ())]
        if not page["IsTruncated"]:
            return
        following = page.get("NextContinuationToken")
        if not following or following == token:
            raise BucketUnusable(where, "the server breaks off its listing without an end", "use another endpoint")
        token = following
        begin = {"ContinuationToken": token}


def _get_page(client: Any, bucket: str, prefix: str, begin: dict[str, str], where: str) -> Any:
    # botocore asks for `encoding-type=url` by itself and decodes the keys, so newlines and the like survive the XML.
    with s3_errors(where):
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **begin)
    # botocore takes an empty body, or a proxy's page, for a listing of nothing.
    if "IsTruncated" not in page:
        raise Transient(where, "the answer is no listing", "check the endpoint and the proxy")
    return page


def _parse_objects(response_dict: Any, customized_response_dict: Any, **_event: Any) -> None:
    """Take the objects out of a page before botocore parses the rest; other answers and odd ones are left to it."""
    if response_dict["status_code"] != 200:
        return
    body = response_dict["body"]
    # Names with a prefix, CDATA or comments: another way to write XML than that of any server that is known.
    if body.count(b"Contents") != 2 * body.count(b"<Contents>") or b"<!" in body:
        return
    try:
        objects, rest = _plain_objects(body.decode()) or _objects(body)
    except ValueError:
        return
    response_dict["body"] = rest
    if objects:
        customized_response_dict["Contents"] = objects


# An entry as S3 and most servers write it; where there is any other, all are read field by field.
_PLAIN = re.compile(
    r"<Contents>\s*<Key>([^<&]*)</Key>\s*"
    r"(?:<[^E/][^<]*</\w+>\s*)*<ETag>(?:&quot;|&#34;|\")?([^<&\"]*)(?:&quot;|&#34;|\")?</ETag>\s*"
    r"(?:<[^S/][^<]*</\w+>\s*)*<Size>([0-9]+)</Size>\s*"
    r"(?:<[^/][^<]*</\w+>\s*)*</Contents>"
)


def _plain_objects(page: str) -> tuple[list[dict[str, Any]], bytes] | None:
    """The objects, and the page without them; None where an entry has another form."""
    pieces = _PLAIN.split(page)
    rest = "".join(pieces[::4])
    if "<Contents>" in rest:
        return None
    found = zip(pieces[1::4], pieces[2::4], pieces[3::4], strict=True)
    return [{"Key": key, "Size": int(size), "ETag": etag} for key, etag, size in found], rest.encode()


_ENTITIES = {"&quot;": '"', "&apos;": "'"}  # besides the three that `unescape` knows


def _objects(page: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """The objects, and the page without them.

    Raises:
        ValueError: an entry has no end, or a field is missing.
    """
    head, *entries = page.split(b"<Contents>")
    objects = []
    rest = [head]
    for text in entries:
        entry, end, after = text.partition(b"</Contents>")
        if not end:
            raise ValueError("an entry that is cut off")
        objects.append(_object(entry))
        rest.append(after)
    return objects, b"".join(rest)


def _object(entry: bytes) -> dict[str, Any]:
    key, size, etag = (_text(entry, field) for field in (b"Key", b"Size", b"ETag"))
    return {"Key": key, "Size": int(size), "ETag": etag}


def _text(entry: bytes, field: bytes) -> str:
    start = entry.index(b"<%b>" % field) + len(field) + 2
    text = entry[start : entry.index(b"<", start)]
    if b"&#" in text:
        raise ValueError("a character by its number")
    return unescape(text.decode(), _ENTITIES) if b"&" in text else text.decode()
