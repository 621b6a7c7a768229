"""`s3://bucket/prefix` as a value, and which keys S3 will take as they are (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulkhaul.errors import UsageError

KEY_BYTES = 1024
"""S3's limit for a key, in bytes of UTF-8."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and a prefix without leading or trailing `/`; the empty prefix is the bucket's root."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> S3Location:
        """Read `s3://bucket/prefix`.

        Raises:
            UsageError: another scheme, an impossible bucket name, a prefix that no key may begin with.
        """
        scheme, _, rest = text.partition("://")
        bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not _BUCKET.fullmatch(bucket):
            raise UsageError(text, "not a target", "write it as s3://bucket/prefix")
        location = cls(bucket, prefix.strip("/"))
        problem = key_problem(location.prefix) if location.prefix else None
        if problem is not None:
            raise UsageError(text, problem, "choose another prefix")
        return location

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    def key(self, relative: str) -> str:
        """The key of a name below the prefix."""
        return f"{self.prefix}/{relative}" if self.prefix else relative

    @property
    def listing_prefix(self) -> str:
        """What a listing of this location asks for: with the `/`, so that `A1` does not list `A10`."""
        return f"{self.prefix}/" if self.prefix else ""

    def covers(self, other: S3Location) -> bool:
        """Whether each key below `other` lies below this location too."""
        return self.bucket == other.bucket and other.listing_prefix.startswith(self.listing_prefix)


def key_problem(key: str) -> str | None:
    """Why S3, or a server between, would refuse or rewrite `key`; None when it is stored as it is."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "the name is not valid UTF-8"
    if length > KEY_BYTES:
        return f"the key has {length} bytes, S3 takes {KEY_BYTES}"
    if _CONTROL.search(key):
        return "the name has a control character"
    if "\\" in key:
        return "the name has a backslash"
    segments = key.split("/")
    if "" in segments:
        return "the key has an empty segment (`//`, or a `/` at an end)"
    if "." in segments or ".." in segments:
        return "the key has a segment `.` or `..`"
    return None
