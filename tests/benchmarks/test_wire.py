"""The sink speaks HTTP as it lies on the wire: framings, pipelines, pieces of any size, broken requests."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import suppress

import pytest

from benchmarks.running import Program
from benchmarks.wire import chunked, crc_of, put, sizes, talk


def framings() -> dict[str, tuple[bytes, int]]:
    """A request for each framing of a body, and the size of what it carries."""
    body = bytes(range(256)) * 20
    signed, trailer = ";chunk-signature=" + "0" * 64, f"x-amz-checksum-crc64nvme:{crc_of(body[:2000])}"
    aws = ("Content-Encoding: aws-chunked", "x-amz-trailer: x-amz-checksum-crc64nvme")
    small = chunked(body[:2000], 500, trailers=(trailer,))
    plain, inner = chunked(body, 1500), chunked(body, 700, extension=signed)
    decoded, small_decoded = "x-amz-decoded-content-length: 5120", "x-amz-decoded-content-length: 2000"
    return {
        "length": (put("length", body, f"Content-Length: {len(body)}"), 5120),
        "empty": (put("empty", b"", "Content-Length: 0"), 0),
        "no-length": (put("no-length", b""), 0),
        "chunked": (put("chunked", plain, "Transfer-Encoding: chunked"), 5120),
        "aws": (put("aws", inner, aws[0], f"Content-Length: {len(inner)}", decoded), 5120),
        "aws-trailer": (put("aws-trailer", small, *aws, f"Content-Length: {len(small)}", small_decoded), 2000),
        "aws-in-chunks": (
            put("aws-in-chunks", chunked(small, 333), *aws, "Transfer-Encoding: chunked"),
            2000,
        ),
    }


@pytest.mark.parametrize("piece", [0, 3, 50, 1000, 4096])
def test_each_framing_of_a_body_in_pieces_of_any_size_stores_the_size_of_its_content(sink: Program, piece: int) -> None:
    crc = crc_of((bytes(range(256)) * 20)[:2000])
    requests = framings()
    sink.client()
    for key, (request, _) in requests.items():
        answer = talk(sink, request, piece=piece)
        assert answer.startswith(b"HTTP/1.1 200 "), (key, answer)
        assert (f"x-amz-checksum-crc64nvme: {crc}".encode() in answer) == (key in ("aws-trailer", "aws-in-chunks"))
    assert sizes(sink) == {key: size for key, (_, size) in requests.items()}


def test_a_wrong_checksum_behind_the_body_is_refused(sink: Program) -> None:
    body = chunked(b"hello", 5, trailers=(f"x-amz-checksum-crc64nvme:{crc_of(b'other')}",))
    head = ("Content-Encoding: aws-chunked", "x-amz-trailer: x-amz-checksum-crc64nvme", f"Content-Length: {len(body)}")
    sink.client()
    assert b"BadDigest" in talk(sink, put("a", body, *head, "x-amz-decoded-content-length: 5"))
    assert not sizes(sink)


def test_a_pipeline_of_hundreds_cut_anywhere_is_answered_in_order(sink: Program) -> None:
    requests = b"".join(put(f"key{at:03}", b"x" * at, f"Content-Length: {at}") for at in range(300))
    sink.client()
    for piece in (0, 999, 20_000):
        sink.reset()
        answers = talk(sink, requests, answers=300, piece=piece)
        assert answers.count(b"HTTP/1.1 200 OK") == 300
        assert sizes(sink) == {f"key{at:03}": at for at in range(300)}
    heads = b"".join(f"HEAD /bucket/key{at:03} HTTP/1.1\r\n\r\n".encode() for at in range(300))
    lines = [line for line in talk(sink, heads, answers=300).split(b"\r\n") if b"Content-Length" in line]
    assert lines == [b"Content-Length: %d" % at for at in range(300)]


def test_answers_that_nobody_reads_hold_up_the_requests(sink: Program) -> None:
    """More answers than a socket takes, to a client that reads none before it has sent half of its requests."""
    count, size = 20_000, 299
    requests = b"GET /bucket/key HTTP/1.1\r\n\r\n" * count
    sink.client().put_object(Bucket="bucket", Key="key", Body=bytes(size))
    with socket.create_connection(("127.0.0.1", sink.port)) as stream:
        stream.setblocking(False)
        sent, zeros, deadline = 0, 0, time.monotonic() + 20
        while sent < len(requests) or zeros < count * size:
            assert time.monotonic() < deadline, (sent, zeros)
            with suppress(BlockingIOError):
                sent += stream.send(requests[sent : sent + 65536])
            with suppress(BlockingIOError):
                zeros += stream.recv(65536).count(0) if sent >= len(requests) // 2 else 0
        assert zeros == count * size


def test_continue_is_told_once_and_only_to_who_waits(sink: Program) -> None:
    head = put("a", b"", "Content-Length: 5", "Expect: 100-continue")
    sink.client()
    with socket.create_connection(("127.0.0.1", sink.port), timeout=5) as stream:
        stream.sendall(head)
        assert stream.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stream.sendall(b"hello")
        assert stream.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert talk(sink, head + b"hello").startswith(b"HTTP/1.1 200 OK")
    empty = put("a", b"", "Content-Length: 0", "Expect: 100-continue")
    assert talk(sink, empty, answers=2).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_connections_are_closed_when_they_should_be(sink: Program) -> None:
    sink.client()
    for request in (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
        answer = talk(sink, request, answers=99)
        assert answer.endswith(b"</ListAllMyBucketsResult>"), answer
    for request in (b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"x" * 70_000):
        assert talk(sink, request, answers=99).startswith(b"HTTP/1.1 400 "), request[:40]
    assert b"400" in talk(sink, put("a", b"zz\r\n", "Transfer-Encoding: chunked"), answers=99)
    assert b"<Name>bucket<" in talk(sink, b"GET http://h:1/ HTTP/1.1\r\nConnection: close\r\n\r\n", answers=99)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_both_servers_in_the_middle_of_a_request(sink: Program, far: Program, number: int) -> None:
    sink.client()
    with socket.create_connection(("127.0.0.1", far.port)) as stream:
        stream.sendall(put("a", b"half", "Content-Length: 8"))
        assert max(far.end(number), sink.end(number)) < 0.5
