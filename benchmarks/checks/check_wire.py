"""HTTP as it lies on the wire: framings, pipelines, pieces of any size, broken requests."""

from __future__ import annotations

import signal
import socket
import time
from base64 import b64encode
from contextlib import suppress

from awscrt.checksums import crc64nvme
from lab import Program


def crc_of(body: bytes) -> str:
    return b64encode(crc64nvme(body).to_bytes(8, "big")).decode()


def talk(sink: Program, request: bytes, *, answers: int = 1, piece: int = 0) -> bytes:
    """Send the bytes, in pieces if asked to; what came back up to that many answers without bodies, or the end."""
    with socket.create_connection(("127.0.0.1", sink.port), timeout=5) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(request), piece or len(request)):
            stream.sendall(request[at : at + (piece or len(request))])
            if piece:
                time.sleep(0.0001)
        found = b""
        while found.count(b"\r\n\r\n") < answers and (some := stream.recv(65536)):
            found += some
        return found


def put(key: str, body: bytes, *headers: str) -> bytes:
    lines = [f"PUT /bucket/{key} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(body: bytes, size: int, *, extension: str = "", trailers: tuple[str, ...] = ()) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)] + [b""]
    framed = b"".join(f"{len(one):x}{extension}\r\n".encode() + one + b"\r\n" * bool(one) for one in pieces)
    return framed + "".join(f"{line}\r\n" for line in trailers).encode() + b"\r\n"


def sizes(sink: Program) -> dict[str, int]:
    page = sink.client().list_objects_v2(Bucket="bucket")
    return {one["Key"]: one["Size"] for one in page.get("Contents", ())}


def check_framings_of_a_body() -> str:
    """Each framing, whole and in pieces of many sizes, stores the size of the content alone."""
    body = bytes(range(256)) * 40
    crc = crc_of(body[:4000])
    signed, trailer = ";chunk-signature=" + "0" * 64, f"x-amz-checksum-crc64nvme:{crc}"
    aws = ("Content-Encoding: aws-chunked", "x-amz-trailer: x-amz-checksum-crc64nvme")
    small = chunked(body[:4000], 1000, trailers=(trailer,))
    plain, inner = chunked(body, 3000), chunked(body, 700, extension=signed)
    requests = {
        "length": (put("length", body, f"Content-Length: {len(body)}"), 10240),
        "empty": (put("empty", b"", "Content-Length: 0"), 0),
        "no-length": (put("no-length", b""), 0),
        "chunked": (put("chunked", plain, "Transfer-Encoding: chunked"), 10240),
        "aws": (
            put("aws", inner, aws[0], f"Content-Length: {len(inner)}", "x-amz-decoded-content-length: 10240"),
            10240,
        ),
        "aws-trailer": (
            put("aws-trailer", small, *aws, f"Content-Length: {len(small)}", "x-amz-decoded-content-length: 4000"),
            4000,
        ),
        "aws-in-chunks": (
            put("aws-in-chunks", chunked(small, 333), *aws, "Transfer-Encoding: chunked"),
            4000,
        ),
    }
    with Program("sink") as sink:
        sink.client()
        for piece in (0, 3, 50, 1000, 4096):
            sink.reset()
            for key, (request, _) in requests.items():
                answer = talk(sink, request, piece=piece)
                assert answer.startswith(b"HTTP/1.1 200 "), (key, piece, answer)
                assert (f"x-amz-checksum-crc64nvme: {crc}".encode() in answer) == (
                    key in ("aws-trailer", "aws-in-chunks")
                )
            found = sizes(sink)
            assert found == {key: size for key, (_, size) in requests.items()}, (piece, found)
    return f"{len(requests)} framings"


def check_wrong_trailer_is_refused() -> None:
    body = chunked(b"hello", 5, trailers=(f"x-amz-checksum-crc64nvme:{crc_of(b'other')}",))
    head = ("Content-Encoding: aws-chunked", "x-amz-trailer: x-amz-checksum-crc64nvme", f"Content-Length: {len(body)}")
    with Program("sink") as sink:
        sink.client()
        assert b"BadDigest" in talk(sink, put("a", body, *head, "x-amz-decoded-content-length: 5"))
        assert not sizes(sink)


def check_pipelines() -> None:
    """Hundreds of requests in one piece, and in pieces that cut them anywhere, are answered in order."""
    requests = b"".join(put(f"key{at:03}", b"x" * at, f"Content-Length: {at}") for at in range(300))
    with Program("sink") as sink:
        sink.client()
        for piece in (0, 999, 20_000):
            sink.reset()
            answers = talk(sink, requests, answers=300, piece=piece)
            assert answers.count(b"HTTP/1.1 200 OK") == 300
            assert sizes(sink) == {f"key{at:03}": at for at in range(300)}
        heads = b"".join(f"HEAD /bucket/key{at:03} HTTP/1.1\r\n\r\n".encode() for at in range(300))
        lines = [line for line in talk(sink, heads, answers=300).split(b"\r\n") if b"Content-Length" in line]
        assert lines == [b"Content-Length: %d" % at for at in range(300)]


def check_answers_that_nobody_reads_hold_up_the_requests() -> None:
    """More answers than a socket takes, to a client that reads none before it has sent half of its requests."""
    count, size = 20_000, 299
    requests = b"GET /bucket/key HTTP/1.1\r\n\r\n" * count
    with Program("sink") as sink, socket.create_connection(("127.0.0.1", sink.port)) as stream:
        sink.client().put_object(Bucket="bucket", Key="key", Body=bytes(size))
        stream.setblocking(False)
        sent, zeros, deadline = 0, 0, time.monotonic() + 20
        while sent < len(requests) or zeros < count * size:
            assert time.monotonic() < deadline, (sent, zeros)
            with suppress(BlockingIOError):
                sent += stream.send(requests[sent : sent + 65536])
            with suppress(BlockingIOError):
                zeros += stream.recv(65536).count(0) if sent >= len(requests) // 2 else 0
        assert zeros == count * size


def check_continue_is_told_once_and_only_to_who_waits() -> None:
    head = put("a", b"", "Content-Length: 5", "Expect: 100-continue")
    with Program("sink") as sink:
        sink.client()
        with socket.create_connection(("127.0.0.1", sink.port), timeout=5) as stream:
            stream.sendall(head)
            assert stream.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            stream.sendall(b"hello")
            assert stream.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert talk(sink, head + b"hello").startswith(b"HTTP/1.1 200 OK")
        empty = put("a", b"", "Content-Length: 0", "Expect: 100-continue")
        assert talk(sink, empty, answers=2).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def check_connections_are_closed_when_they_should_be() -> None:
    with Program("sink") as sink:
        sink.client()
        for request in (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
            answer = talk(sink, request, answers=99)
            assert answer.endswith(b"</ListAllMyBucketsResult>"), answer
        for request in (b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"x" * 70_000):
            assert talk(sink, request, answers=99).startswith(b"HTTP/1.1 400 "), request[:40]
        assert b"400" in talk(sink, put("a", b"zz\r\n", "Transfer-Encoding: chunked"), answers=99)
        assert b"<Name>bucket<" in talk(sink, b"GET http://h:1/ HTTP/1.1\r\nConnection: close\r\n\r\n", answers=99)


def check_signals_end_both_programs() -> str:
    with Program("sink") as sink, Program("delay", f"127.0.0.1:{sink.port}", "40") as proxy:
        sink.client()
        with socket.create_connection(("127.0.0.1", proxy.port)) as stream:
            stream.sendall(put("a", b"half", "Content-Length: 8"))
            seconds = [proxy.end(signal.SIGTERM), sink.end(signal.SIGTERM)]
    with Program("sink") as sink, Program("delay", f"127.0.0.1:{sink.port}", "40") as proxy:
        seconds += [proxy.end(signal.SIGINT), sink.end(signal.SIGINT)]
    assert max(seconds) < 0.5
    return f"at most {1000 * max(seconds):.1f} ms"
