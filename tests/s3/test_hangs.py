"""A request that hangs is a fault: it ends within its limits, is told as one, and succeeds on a new connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bulkhaul import errors
from bulkhaul.s3.client import s3_errors
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.providers import access_grants
from s3.engines import MakeEngine
from s3.expected import KEY, crc
from s3.keys import ACCOUNT
from s3.large import PART, FileJournal, fast_repeat, send
from s3.reach import client_for, fixed_source
from servers import slow
from servers.slow import BREAKS, HANGS, SlowFront
from servers.stub.store import Upload
from servers.stub.tokens import IssuedToken
from servers.stub_s3 import StubS3
from servers.tls import self_signed

pytestmark = pytest.mark.slow  # each waits for a limit of time, with next to no work

TIMEOUT = 0.4  # seconds
LIMIT = 8.0
"""Seconds within which a request of that read timeout ends: ten read timeouts in all, and a busy machine."""
BODY = bytes(range(256)) * 8192  # 2 MiB, more than the buffers of two sockets hold

Request = Callable[[Any], Any]

REQUESTS: dict[str, Request] = {
    "put": lambda client: client.put_object(Bucket="bucket", Key="key", Body=BODY),
    "list": lambda client: client.list_objects_v2(Bucket="bucket"),
    "head": lambda client: client.head_object(Bucket="bucket", Key="there"),
    "create": lambda client: client.create_multipart_upload(Bucket="bucket", Key="key"),
    "list parts": lambda client: client.list_parts(Bucket="bucket", Key="key", UploadId="upload"),
    "delete": lambda client: client.delete_object(Bucket="bucket", Key="key"),
}
# HEAD has no body to hang in: that it is all there is known with the headers.
FITS = [
    pytest.param(fault, request, id=f"{request} {fault.__name__}")
    for fault in (*HANGS, *BREAKS)
    for request in REQUESTS
    if not (
        request == "head" and fault in (slow.answers_a_body_of_bytes, slow.goes_silent, slow.breaks_off_in_the_body)
    )
]


@pytest.fixture
def token(stub: StubS3) -> IssuedToken:
    return stub.tokens.issue(None)


def client_at(url: str, token: IssuedToken, **options: Any) -> Any:
    return client_for(url, token.access_key, token.secret_key, read_timeout=TIMEOUT, connect_timeout=2.0, **options)


def fails_in_time(call: Callable[[], object]) -> None:
    begun = time.monotonic()
    with pytest.raises(errors.Transient), s3_errors("thing"):
        call()
    assert time.monotonic() - begun < LIMIT


def made(request: Request, client: Any) -> Any:
    """The answer, repeated as ever: on a busy machine a good server may need longer than these timeouts."""

    def once() -> Any:
        with s3_errors("thing"):
            return request(client)

    return fast_repeat(None)(once)


@pytest.mark.parametrize(("fault", "request_name"), FITS)
def test_each_request_ends_as_transient_and_succeeds_on_a_new_connection(
    stub: StubS3, token: IssuedToken, fault: slow.Fault, request_name: str
) -> None:
    stub.store.put("bucket", "there", b"x")
    stub.store.uploads["upload"] = Upload("bucket", "key")
    with SlowFront(stub.url, fault) as front:
        client = client_at(front.url, token)
        fails_in_time(lambda: REQUESTS[request_name](client))
        assert front.met == 1

        assert made(REQUESTS[request_name], client)["ResponseMetadata"]["HTTPStatusCode"] in (200, 204)
        assert front.accepted >= 2


@pytest.mark.parametrize("fault", [*HANGS[:3], HANGS[-1], BREAKS[0]], ids=lambda fault: fault.__name__)
def test_a_put_of_either_engine_is_repeated_and_arrives(
    make: MakeEngine, stub: StubS3, token: IssuedToken, fault: slow.Fault
) -> None:
    source = fixed_source(token.access_key, token.secret_key)
    with SlowFront(stub.url, fault, times=2) as front:
        engine = make("bucket", source, S3Options(endpoint_url=front.url, read_timeout=TIMEOUT, connect_timeout=2.0))
        begun = time.monotonic()
        fast_repeat(None)(lambda: engine.put("key", BODY, crc64nvme=crc(BODY)))
        assert time.monotonic() - begun < 2 * LIMIT
        assert front.met == 2
    assert stub.store.buckets["bucket"]["key"].body == BODY


@pytest.mark.parametrize("fault", [*HANGS[:3], BREAKS[0]], ids=lambda fault: fault.__name__)
def test_parts_are_repeated_and_the_object_is_whole(
    stub: StubS3, token: IssuedToken, file: Path, journal: FileJournal, fault: slow.Fault
) -> None:
    with SlowFront(stub.url, fault, times=3) as front:
        send(client_at(front.url, token), "bucket", file, journal, part_size=PART)
        assert front.met == 3
    assert stub.store.buckets["bucket"][KEY].body == file.read_bytes()


@pytest.mark.parametrize("fault", [*HANGS, *BREAKS], ids=lambda fault: fault.__name__)
def test_over_tls_it_is_the_same(stub: StubS3, token: IssuedToken, tmp_path: Path, fault: slow.Fault) -> None:
    certificate, key = self_signed(tmp_path)
    with SlowFront(stub.url, fault, tls=(certificate, key)) as front:
        client = client_at(front.url, token, ca_bundle=str(certificate))
        fails_in_time(lambda: REQUESTS["put"](client))
        assert made(REQUESTS["put"], client)["ETag"]
        assert front.met == 1


def test_a_completion_may_take_its_time_but_not_for_ever(stub: StubS3, token: IssuedToken) -> None:
    """S3 sends a blank now and then while it puts the parts together, for minutes."""
    with SlowFront(stub.url, slow.answers_a_body_of_bytes) as front:
        client = client_at(front.url, token)
        begun = time.monotonic()
        fails_in_time(
            lambda: client.complete_multipart_upload(
                Bucket="bucket", Key="key", UploadId="none", MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "e"}]}
            )
        )
        assert time.monotonic() - begun > 5 * TIMEOUT, "it was not given time"


def test_a_request_that_got_on_is_not_cut_off(stub: StubS3, token: IssuedToken) -> None:
    """A slow line is no fault: the body takes longer than the read timeout, and than the time to connect."""
    with SlowFront(stub.url, takes_little_by_little) as front:
        client = client_for(front.url, token.access_key, token.secret_key, read_timeout=2.0, connect_timeout=0.5)
        begun = time.monotonic()
        client.put_object(Bucket="bucket", Key="key", Body=BODY)
        assert time.monotonic() - begun > 2.0


def takes_little_by_little(front: SlowFront, connection: Any) -> None:
    left = len(BODY)
    while left > 0 and not front.closing.wait(0.005):
        left -= len(connection.recv(20_000))
    connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')


def test_after_a_hang_no_idle_connection_is_trusted(stub: StubS3, token: IssuedToken) -> None:
    with SlowFront(stub.url, slow.takes_nothing, times=0) as front:
        client = client_at(front.url, token)
        made(REQUESTS["list"], client)
        before = front.accepted
        stub.script.plan("ListObjectsV2", stub.script.hang(30))
        fails_in_time(lambda: REQUESTS["list"](client))
        assert front.accepted == before, "the connection was kept"
        made(REQUESTS["list"], client)
        assert front.accepted > before


def test_a_connection_that_serves_the_next_request_is_not_cut_off_for_the_last_one(
    stub: StubS3, token: IssuedToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer comes while it is decided that it is late; by the end of that the next request is on its way."""
    judging, next_request, judged = threading.Event(), threading.Event(), threading.Event()
    ask_kernel, told = socket.socket.getsockopt, list[bytes]()

    def tell(sock: socket.socket, level: int, option: int, *size: int) -> Any:
        said = ask_kernel(sock, level, option, *size)
        if threading.current_thread().name != "watchdog":
            return said
        told.append(said)  # type: ignore[arg-type]
        if len(told) == 4:
            time.sleep(2 * TIMEOUT)  # at its next look the request is late
        elif len(told) == 5:
            judging.set()
            assert next_request.wait(LIMIT)
            return told[3]
        elif len(told) == 6:
            judged.set()
        return said

    def answers_twice(_front: SlowFront, connection: socket.socket) -> None:
        for number, moment in enumerate((judging, judged)):
            connection.recv(1 << 16)
            if number:
                next_request.set()
            moment.wait(LIMIT)
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    monkeypatch.setattr(socket.socket, "getsockopt", tell)
    with SlowFront(stub.url, answers_twice) as front:
        client = client_at(front.url, token)
        REQUESTS["delete"](client)
        REQUESTS["delete"](client)
        assert front.accepted == 1


@pytest.fixture
def grants(stub: StubS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowFront]:
    """Access Grants of the stub behind a server that hangs once."""
    stub.grants.targets.append("s3://bucket/lab/*")
    with SlowFront(stub.url, slow.answers_bytes) as front:
        for name, value in stub.environment(stub.tokens.issue(None)).items():
            monkeypatch.setenv(name, value.replace(stub.url, front.url))
        yield front


def test_a_grant_that_hangs_is_asked_for_again(grants: SlowFront) -> None:
    options = S3Options(read_timeout=TIMEOUT, connect_timeout=2.0)
    begun = time.monotonic()
    assert access_grants(ACCOUNT, options)(S3Location("bucket", "lab/plate")).token.session_token
    assert time.monotonic() - begun < LIMIT
    assert grants.met == 1
