"""The proxy loses and reorders nothing, limits no bandwidth, and passes ends and resets on."""

from __future__ import annotations

import hashlib
import random
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest

from benchmarks.streams import connect, echo, proxied

MIB = 1 << 20
RESET = struct.pack("ii", 1, 0)

pytestmark = pytest.mark.usefixtures("compiled")


def exchange(port: int, number: int, digests: dict[int, tuple[str, str]]) -> None:
    """Send bytes to an echo and note the digests of both ways."""
    data = random.Random(number).randbytes(random.Random(-number).randint(0, 4 * MIB))
    hashed = hashlib.sha256()
    with connect(port) as stream:

        def send() -> None:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        while some := stream.recv(1 << 16):
            hashed.update(some)
        sender.join()
    digests[number] = (hashlib.sha256(data).hexdigest(), hashed.hexdigest())


def test_many_connections_at_once_come_back_whole_and_end_when_they_ended() -> None:
    digests: dict[int, tuple[str, str]] = {}
    with proxied(echo, 20) as port:
        threads = [threading.Thread(target=exchange, args=(port, number, digests)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(digests) == 40
    assert all(sent == received for sent, received in digests.values())


def test_far_more_than_a_window_a_round_trip_goes_through() -> None:
    size = 400 * MIB

    def count(stream: socket.socket) -> None:
        left = size
        buffer = bytearray(MIB)
        while left:
            left -= stream.recv_into(buffer)
        stream.sendall(b"done")

    with proxied(count) as port, connect(port) as stream:
        begun = time.perf_counter()
        block = bytes(MIB)
        for _ in range(size // MIB):
            stream.sendall(block)
        assert stream.recv(4, socket.MSG_WAITALL) == b"done"
        seconds = time.perf_counter() - begun
    assert size / MIB / seconds > 300


def test_it_takes_64_mib_from_a_sender_whose_reader_sleeps_and_no_more() -> None:
    go_on = threading.Event()

    def dawdle(stream: socket.socket) -> None:
        go_on.wait(20)
        total = 0
        while some := stream.recv(MIB):
            total += len(some)
        stream.sendall(total.to_bytes(8, "big"))

    with proxied(dawdle, 10) as port, connect(port) as stream:
        stream.settimeout(1)
        sent = 0
        with suppress(TimeoutError):
            while sent < 200 * MIB:
                sent += stream.send(bytes(MIB))
        assert 64 * MIB <= sent <= 90 * MIB, sent  # and what lies in the sockets
        go_on.set()
        stream.settimeout(20)
        stream.shutdown(socket.SHUT_WR)
        assert int.from_bytes(stream.recv(8, socket.MSG_WAITALL), "big") == sent


def test_half_closes_and_resets_go_through_both_ways() -> None:
    ended: list[str] = []
    done = threading.Event()

    def note_end(stream: socket.socket) -> None:
        first = stream.recv(100)
        try:
            ended.append("end" if not stream.recv(100) else "data")
        except ConnectionResetError:
            ended.append("reset")
        if first == b"answer":
            stream.sendall(b"late")
        if first == b"reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        stream.close()
        done.set()

    with proxied(note_end) as port:
        with connect(port) as stream:  # the client ends, the server still answers
            stream.sendall(b"answer")
            begun = time.monotonic()
            stream.shutdown(socket.SHUT_WR)
            assert stream.recv(100) == b"late"
            assert stream.recv(100) == b""
            assert time.monotonic() - begun >= 0.04
        done.clear()
        with connect(port) as stream:  # the client resets
            stream.sendall(b"x")
            time.sleep(0.1)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        assert done.wait(5)
        with connect(port) as stream:  # the server resets
            stream.sendall(b"reset")
            time.sleep(0.1)
            stream.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                stream.recv(100)
    assert ended == ["end", "reset", "data"], ended
