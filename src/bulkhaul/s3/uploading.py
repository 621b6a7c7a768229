"""One multipart upload under its id: the requests on it, each made through `repeat`, and its parts one by one."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bulkhaul.errors import AccessDenied, BucketUnusable, IntegrityFailed, NoSuchObject, Transient
from bulkhaul.s3.checksums import MD5_STEP, decode_crc64nvme, encode_crc64nvme
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.engine import Repeat
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.parts import Digest, OpenFile, PartBody, Span
from bulkhaul.s3.retry import Gate

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that S3 has: ETag without quotes, CRC64NVME of its bytes, whether an earlier worker had sent it."""

    span: Span
    etag: str
    crc: int
    adopted: bool


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as ListParts tells it; `crc` only where the server keeps it."""

    size: int
    etag: str
    crc: int | None


@dataclass(frozen=True, slots=True)
class Whole:
    """What S3 says of a whole object: ETag without quotes, CRC64NVME and size in bytes where it tells them."""

    etag: str
    crc: int | None
    size: int | None

    def proves(self, *, size: int, crc: int | None, etag: str | None) -> bool:
        """Whether this object is known to hold bytes of that size and CRC64NVME, or of that ETag.

        `crc` None: the server's own says nothing; `etag` None: it is no digest.
        """
        if self.size not in (None, size):
            return False
        if crc is not None and self.crc is not None:
            return self.crc == crc
        return etag is not None and self.etag.lower() == etag


@dataclass(frozen=True, slots=True)
class ObjectRequests:
    """Multipart requests for one key; `checksums` false where no CRC64NVME is compared: MD5 proves the parts."""

    client: Any
    bucket: str
    key: str
    repeat: Repeat
    gate: Gate
    checksums: bool

    @property
    def thing(self) -> str:
        """The object's name in messages."""
        return str(S3Location(self.bucket, self.key))

    def make(self, operation: str, **arguments: Any) -> Any:
        """Make one request on the key, repeated as its class of error asks for."""
        return self.repeat(lambda: self.attempt(operation, **arguments))

    def attempt(self, operation: str, **arguments: Any) -> Any:
        """Make one request on the key a single time."""
        method: Callable[..., Any] = getattr(self.client, operation)
        with s3_errors(self.thing):
            return method(Bucket=self.bucket, Key=self.key, **arguments)

    def create(self, on_lost: Callable[[], None]) -> str:
        """Begin a multipart upload and return its id; calls `on_lost` when one may stand whose id nobody knows."""
        full = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"} if self.checksums else {}

        def begin() -> str:
            try:
                return self._upload_id(self.attempt("create_multipart_upload", **full))
            except Transient:
                _LOG.debug("%s: no answer to a new multipart upload; one may stand without parts", self.thing)
                on_lost()
                raise

        return self.repeat(begin)

    def _upload_id(self, answer: Any) -> str:
        if not answer.get("UploadId"):
            raise Transient(self.thing, "the answer names no multipart upload", "check the endpoint and the proxy")
        return str(answer["UploadId"])

    def guard(self, digest: Digest) -> dict[str, str]:
        """What travels with a part, for the server to compare."""
        if digest.md5 is None:
            return self._checked(digest.crc)
        return {"ContentMD5": base64.b64encode(bytes.fromhex(digest.md5)).decode("ascii")}

    def complete(self, upload_id: str, parts: Sequence[Part], crc: int) -> Whole:
        """Have the parts put together; `crc` is the CRC64NVME of the whole."""
        listed = [
            {"PartNumber": part.span.number, "ETag": f'"{part.etag}"', **self._checked(part.crc)} for part in parts
        ]
        full = {**self._checked(crc), "ChecksumType": "FULL_OBJECT"} if self.checksums else {}
        answer = self.make("complete_multipart_upload", UploadId=upload_id, MultipartUpload={"Parts": listed}, **full)
        return Whole(_etag(answer), whole_crc64nvme(answer), None)

    def part_etag(self, answer: Any, digest: Digest) -> str:
        """The ETag of a part that was taken.

        Raises:
            IntegrityFailed: nothing but the ETag can prove the part, and it is not its MD5.
        """
        etag = _etag(answer)
        if digest.md5 is not None and etag.lower() != digest.md5:
            raise IntegrityFailed(self.thing, "the ETag of a part is not the MD5 of what was sent", MD5_STEP)
        return etag

    def _checked(self, crc: int) -> dict[str, str]:
        return {"ChecksumCRC64NVME": encode_crc64nvme(crc)} if self.checksums else {}

    def head(self) -> Whole | None:
        """The object as it stands; None when there is none or S3 must not tell."""
        try:
            answer = self.make("head_object", ChecksumMode="ENABLED")
        except (NoSuchObject, AccessDenied, BucketUnusable):  # the last one: a server that knows no HEAD
            return None
        return Whole(_etag(answer), whole_crc64nvme(answer), answer.get("ContentLength"))


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload of one open file; safe from many threads."""

    requests: ObjectRequests
    upload_id: str
    file: OpenFile

    def stored_parts(self) -> dict[int, StoredPart]:
        """The parts that S3 has, by number; none where it must not or cannot tell, so that all are sent.

        Raises:
            UploadGone: the upload was completed or aborted.
        """
        found: dict[int, StoredPart] = {}
        marker: dict[str, int] = {}
        while True:
            try:
                page = self.requests.make("list_parts", UploadId=self.upload_id, **marker)
            except (AccessDenied, BucketUnusable) as error:
                _LOG.debug("no parts are adopted: %s", error)
                return {}
            found |= {
                one["PartNumber"]: StoredPart(one["Size"], _etag(one), self._kept_crc(one))
                for one in page.get("Parts", ())
            }
            following = int(page.get("NextPartNumberMarker") or 0)
            if not page.get("IsTruncated") or following <= marker.get("PartNumberMarker", 0):
                return found
            marker = {"PartNumberMarker": following}

    def bring(self, span: Span, stored: StoredPart | None) -> Part:
        """See to it that S3 has the bytes that `span` holds now: adopt the stored part if it has them, else send them.

        Raises:
            SourceChanged, OSError: the file.
            S3Error: what no repetition cured.
        """
        if stored is not None and stored.size == span.length:
            digest = self.file.digest(span, md5=stored.crc is None, gate=self.requests.gate)
            if digest.crc == stored.crc or (stored.crc is None and digest.md5 == stored.etag.lower()):
                return Part(span, stored.etag, digest.crc, adopted=True)
        try:
            return self._send(span)
        except IntegrityFailed as error:
            _LOG.debug("part %d is read and sent again: %s", span.number, error)
            return self._send(span)

    def _kept_crc(self, listed: Any) -> int | None:
        # A server that compares none may list whatever a client said.
        return whole_crc64nvme(listed) if self.requests.checksums else None

    def _send(self, span: Span) -> Part:
        self.file.check_unchanged()  # no part is begun of a version that cannot become an object any more
        digest = self.file.digest(span, md5=not self.requests.checksums, gate=self.requests.gate)
        etag = self.requests.repeat(lambda: self._attempt_part(span, digest), nbytes=span.length)
        return Part(span, etag, digest.crc, adopted=False)

    def _attempt_part(self, span: Span, digest: Digest) -> str:
        body = PartBody(self.file, span)
        try:
            answer = self.requests.attempt(
                "upload_part", UploadId=self.upload_id, PartNumber=span.number, Body=body, **self.requests.guard(digest)
            )
        except Exception:
            if body.error is not None:
                raise body.error from None
            raise
        return self.requests.part_etag(answer, digest)


def _etag(answer: Any) -> str:
    return str(answer.get("ETag", "")).strip('"')


def whole_crc64nvme(answer: Any) -> int | None:
    """The CRC64NVME of all bytes of an object or part, where an answer of boto3's tells it."""
    if answer.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None  # a checksum of checksums says nothing about the bytes as a whole
    try:
        return decode_crc64nvme(answer.get("ChecksumCRC64NVME", ""))
    except ValueError:
        # SeaweedFS 4.34 tells a checksum of checksums as `xxxx=-2` and says no type, moto four bytes of its own.
        return None
