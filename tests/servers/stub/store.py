"""Buckets in memory: objects and multipart uploads, and the checks S3 makes of what it is sent."""

from __future__ import annotations

import base64
import hashlib
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from anycrc import Model

from servers.stub.message import Answer, Request, error


@dataclass(frozen=True, slots=True)
class Stored:
    """One object."""

    body: bytes = field(repr=False)
    etag: str
    crc64nvme: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Upload:
    """One multipart upload that goes on."""

    bucket: str
    key: str
    parts: dict[int, Stored] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def crc64nvme(body: bytes) -> str:
    """The checksum as S3 writes it, from the library itself and not from the code under test."""
    return base64.b64encode(int(Model("CRC64-NVME").calc(body)).to_bytes(8, "big")).decode()


def stored(body: bytes, headers: dict[str, str] | None = None) -> Stored:
    """An object as S3 would keep it."""
    return Stored(body, hashlib.md5(body).hexdigest(), crc64nvme(body), headers or {})


class Store:
    """What the server holds. `lock` guards each operation; tests may look in and change things between requests.

    `enforce_checksums` and `conditional` false make a server that ignores them, as some do. `write_etag` is how it
    tells an ETag.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.uploads: dict[str, Upload] = {}
        self.enforce_checksums = True
        self.conditional = True
        self.page_size = 1000
        self.write_etag: Callable[[str], str] = '"{}"'.format

    def make_bucket(self, name: str) -> None:
        """Create an empty bucket."""
        with self.lock:
            self.buckets.setdefault(name, {})

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Place an object without a request."""
        with self.lock:
            self.buckets[bucket][key] = stored(body)

    def new_upload(self, upload: Upload) -> str:
        """Begin an upload and give its id."""
        name = uuid.uuid4().hex
        self.uploads[name] = upload
        return name

    def damaged(self, request: Request) -> Answer | None:
        """The refusal of a body that is not what its headers say."""
        if not self.enforce_checksums:
            return None
        sent_md5 = request.headers.get("content-md5")
        md5 = base64.b64encode(hashlib.md5(request.body).digest()).decode()
        if sent_md5 is not None and sent_md5 != md5:
            return error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
        sent_crc = request.headers.get("x-amz-checksum-crc64nvme")
        if sent_crc is not None and sent_crc != crc64nvme(request.body):
            return error(400, "BadDigest", "The CRC64NVME you specified did not match the calculated checksum.")
        return None

    def kept(self, request: Request, one: Stored) -> Stored:
        """The object as it is kept: who compares no checksum believes what the client says of it."""
        said = request.headers.get("x-amz-checksum-crc64nvme")
        return one if self.enforce_checksums or said is None else replace(one, crc64nvme=said)

    def precondition(self, request: Request) -> Answer | None:
        """The refusal of a conditional write whose condition does not hold."""
        if not self.conditional:
            return None
        present = self.buckets[request.bucket].get(request.key)
        if request.headers.get("if-none-match") == "*" and present is not None:
            return error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        wanted = request.headers.get("if-match")
        if wanted is not None and (present is None or present.etag != wanted.strip('"')):
            return error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        return None
