"""Oddities of S3 servers, each done to a stub: what some real server, gateway or proxy does in place of S3."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from servers.stub import operations
from servers.stub.message import Answer, Request, error
from servers.stub.script import Act
from servers.stub.store import Stored, crc64nvme, stored

if TYPE_CHECKING:
    from servers.stub_s3 import StubS3

Oddity = Callable[["StubS3"], None]

ALWAYS = 1_000_000


def together(*oddities: Oddity) -> Oddity:
    """All of them at once."""

    def be_odd(stub: StubS3) -> None:
        for oddity in oddities:
            oddity(stub)

    return be_odd


def plain(_stub: StubS3) -> None:
    """None: the stub as it is."""


def ignores_checksums(stub: StubS3) -> None:
    """It takes whatever body, and keeps no checksum but what the client said."""
    stub.store.enforce_checksums = False


def ignores_conditions(stub: StubS3) -> None:
    stub.store.conditional = False


def writes_etags(write: Callable[[str], str]) -> Oddity:
    """ETags are written by `write` wherever they are told."""

    def be_odd(stub: StubS3) -> None:
        stub.store.write_etag = write

    return be_odd


def opaque(etag: str) -> str:
    """An ETag that is no digest of the content."""
    return f'"0x{hashlib.sha1(etag.encode()).hexdigest()[:15]}"'


def lacks(*names: str) -> Oddity:
    """It answers 501 to the operations of these names; whoever judges afterwards may ask."""

    def act(request: Request, serve: Callable[[], Answer]) -> Answer:
        ours = "bulkhaul" in request.headers.get("user-agent", "")
        return error(501, "NotImplemented", "not implemented") if ours else serve()

    return together(*(meets(name, act) for name in names))


def refuses_checksum_headers(status: int, code: str, *, only: str = "") -> Oddity:
    """It refuses requests (of the operation `only`) that carry a checksum in a header."""

    def act(request: Request, serve: Callable[[], Answer]) -> Answer:
        of_these = not only or request.operation == only
        carries = any(name.startswith("x-amz-checksum-") and name != "x-amz-checksum-mode" for name in request.headers)
        return error(status, code, "unsupported checksum") if of_these and carries else serve()

    return meets("*", act)


def meets(operation: str, act: Act, *, times: int = ALWAYS, name: str = "") -> Oddity:
    """Requests of `operation`, of keys that end in `name`, meet `act`, the first `times` of them."""

    def be_odd(stub: StubS3) -> None:
        left = times

        def chosen(request: Request, serve: Callable[[], Answer]) -> Answer:
            nonlocal left
            if left <= 0 or not request.key.endswith(name):
                return serve()
            left -= 1
            return act(request, serve)

        stub.script.plan(operation, chosen, times=ALWAYS)

    return be_odd


def lists_late(seconds: float, *, name: str = "") -> Oddity:
    """An object, whose key ends in `name`, is listed only so long after it was put."""

    def be_odd(stub: StubS3) -> None:
        first_seen: dict[str, float] = {}

        def act(request: Request, _serve: Callable[[], Answer]) -> Answer:
            store, now = stub.store, time.monotonic()
            with store.lock:
                objects = store.buckets[request.bucket]
                shown = {
                    key: one
                    for key, one in objects.items()
                    if not key.endswith(name) or now - first_seen.setdefault(one.etag + key, now) >= seconds
                }
                store.buckets[request.bucket] = shown
                try:
                    return operations.serve(store, request)
                finally:
                    store.buckets[request.bucket] = objects

        stub.script.plan("ListObjectsV2", act, times=ALWAYS)

    return be_odd


def repeats_keys_between_pages(stub: StubS3) -> None:
    """The last key of a page comes again as the first one of the next."""
    stub.store.page_size = 3

    def act(_request: Request, serve: Callable[[], Answer]) -> Answer:
        answer = serve()
        keys = re.findall(rb"<Key>(.*?)</Key>", answer.body)
        if len(keys) < 3:
            return answer
        one_before = b"<NextContinuationToken>%b<" % unquote(keys[-2].decode()).replace("&", "&amp;").encode()
        return replace(answer, body=re.sub(rb"<NextContinuationToken>[^<]*<", lambda _: one_before, answer.body))

    stub.script.plan("ListObjectsV2", act, times=ALWAYS)


def shows_pages_of(number: int) -> Oddity:
    """Its pages are smaller than what was asked for."""

    def be_odd(stub: StubS3) -> None:
        stub.store.page_size = number

    return be_odd


def lists_plain_keys(*, says_encoded: bool) -> Oddity:
    """It does not encode keys in listings, though it was asked to; it may say nevertheless that it did."""

    def act(request: Request, _serve: Callable[[], Answer], stub: StubS3) -> Answer:
        answer = operations.serve(stub.store, replace(request, query_text=_without_encoding(request.query_text)))
        said = b"<EncodingType>url</EncodingType></ListBucketResult>"
        return replace(answer, body=answer.body.replace(b"</ListBucketResult>", said)) if says_encoded else answer

    return lambda stub: stub.script.plan(
        "ListObjectsV2", lambda request, serve: act(request, serve, stub), times=ALWAYS
    )


def _without_encoding(query: str) -> str:
    return "&".join(one for one in query.split("&") if not one.startswith("encoding-type"))


def stores_other_bytes(change: Callable[[bytes], bytes], *, name: str, operation: str = "PutObject") -> Oddity:
    """What it stores under keys that end in `name` is changed; its answers are about what it stored."""

    def be_odd(stub: StubS3) -> None:
        def act(request: Request, serve: Callable[[], Answer]) -> Answer:
            if not request.key.endswith(name):
                return serve()
            return operations.serve(stub.store, replace(request, body=change(request.body)))

        stub.script.plan(operation, act, times=ALWAYS)

    return be_odd


def holds(key: str, body: bytes, *, said_to_be: bytes) -> Oddity:
    """An object is there, under the checksum that whoever sent it had worked out for another body."""

    def be_odd(stub: StubS3) -> None:
        stub.store.buckets["bucket"][key] = replace(stored(body), crc64nvme=crc64nvme(said_to_be))

    return be_odd


def cuts_off_what_it_has_checked(*, name: str) -> Oddity:
    """Of a body that it has checked it keeps the first half; its answers are about the whole."""

    def be_odd(stub: StubS3) -> None:
        def act(request: Request, serve: Callable[[], Answer]) -> Answer:
            answer = serve()
            if answer.status == 200 and request.key.endswith(name):
                with stub.store.lock:
                    objects = stub.store.buckets[request.bucket]
                    one: Stored = objects[request.key]
                    objects[request.key] = replace(one, body=one.body[: len(one.body) // 2])
            return answer

        stub.script.plan("PutObject", act, times=ALWAYS)

    return be_odd


def flip(body: bytes) -> bytes:
    """One bit in the middle changed."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 8]) + body[middle + 1 :]


def has_another_clock(stub: StubS3) -> None:
    """Its answers are dated a day ahead."""
    stub.clock_ahead = 86_400.0
