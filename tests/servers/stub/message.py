"""One request and one answer as values, and which of S3's operations a request is (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

_GRANTS_PATH = "/v20180820/accessgrantsinstance/dataaccess"

# (method, the query's word that tells, whether there is a key) -> operation; the first that fits counts.
_OPERATIONS = (
    ("POST", "uploads", True, "CreateMultipartUpload"),
    ("PUT", "partNumber", True, "UploadPart"),
    ("POST", "uploadId", True, "CompleteMultipartUpload"),
    ("DELETE", "uploadId", True, "AbortMultipartUpload"),
    ("GET", "uploadId", True, "ListParts"),
    ("GET", "uploads", False, "ListMultipartUploads"),
    ("PUT", "", True, "PutObject"),
    ("GET", "", True, "GetObject"),
    ("HEAD", "", True, "HeadObject"),
    ("DELETE", "", True, "DeleteObject"),
    ("POST", "delete", False, "DeleteObjects"),
    ("GET", "", False, "ListObjectsV2"),
    ("HEAD", "", False, "HeadBucket"),
    ("PUT", "", False, "CreateBucket"),
    ("DELETE", "", False, "DeleteBucket"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; `path` is still encoded, header names are lower case."""

    method: str
    path: str
    query_text: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.query_text, keep_blank_values=True))

    @property
    def bucket(self) -> str:
        return unquote(self.path.lstrip("/").partition("/")[0])

    @property
    def key(self) -> str:
        return unquote(self.path.lstrip("/").partition("/")[2])

    @property
    def access_key(self) -> str:
        """Who signed it; empty when nobody did."""
        _, _, credential = self.headers.get("authorization", "").partition("Credential=")
        return credential.partition("/")[0]

    @property
    def operation(self) -> str:
        """S3's name for the request."""
        if self.path == _GRANTS_PATH:
            return "GetDataAccess"
        if not self.bucket:
            return "ListBuckets"
        query = self.query
        for method, word, has_key, name in _OPERATIONS:
            if method == self.method and has_key == bool(self.key) and (not word or word in query):
                return name
        return "Unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; `cut` drops the connection instead of sending it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


def parse_target(target: str) -> tuple[str, str]:
    """Path and query of a request line's target; a proxy's absolute form is read too."""
    if target.startswith("http://"):
        parts = urlsplit(target)
        return parts.path or "/", parts.query
    path, _, query = target.partition("?")
    return path, query


def xml(root: str, *inner: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with an XML body."""
    text = f'<?xml version="1.0" encoding="UTF-8"?><{root}>{"".join(inner)}</{root}>'
    return Answer(status, text.encode(), {"Content-Type": "application/xml", **(headers or {})})


def tag(name: str, value: object) -> str:
    """One XML element with text in it."""
    return f"<{name}>{escape(str(value))}</{name}>"


def error(status: int, code: str, message: str = "scripted") -> Answer:
    """S3's error document."""
    return xml("Error", tag("Code", code), tag("Message", message), status=status)
