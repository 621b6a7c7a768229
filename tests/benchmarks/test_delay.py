"""The proxy adds its round trip and nothing else: to requests, to small messages, to thousands of connections."""

from __future__ import annotations

import http.client
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from benchmarks.running import Program
from benchmarks.streams import connect, echo, proxied

pytestmark = pytest.mark.usefixtures("compiled")


def quick(times: list[float]) -> float:
    """The lower quartile: on a machine whose cores are taken away for 100 ms at a time, more than that says nothing."""
    return sorted(times)[len(times) // 4]


def spread(times: list[float]) -> str:
    times = sorted(times)
    middle = times[len(times) // 2]
    return f"least {times[0]:.2f}, quartile {quick(times):.2f}, median {middle:.2f}, most {times[-1]:.2f} ms"


def test_a_kept_connection_costs_one_round_trip_a_request_and_a_new_one_one_more(sink: Program, far: Program) -> None:
    kept, new = [], []
    sink.client()
    for _ in range(5):
        with closing(http.client.HTTPConnection("127.0.0.1", far.port)) as client:
            for request in range(6):
                begun = time.perf_counter()
                client.request("PUT", f"/bucket/{request}", body=bytes(16384))
                answer = client.getresponse()
                answer.read()
                (kept if request else new).append(1000 * (time.perf_counter() - begun))
                assert answer.status == 200
    assert min(kept) >= 40 and quick(kept) <= 45, spread(kept)
    assert min(new) >= 80 and quick(new) <= 90, spread(new)


@pytest.mark.parametrize("milliseconds", [0, 1, 10, 100])
def test_bytes_sent_every_few_milliseconds_arrive_as_they_were_sent_each_in_its_time(milliseconds: int) -> None:
    times: list[float] = []
    with proxied(echo, milliseconds) as port, connect(port) as stream:
        stream.sendall(b"0" * 8)
        stream.recv(8, socket.MSG_WAITALL)

        def read_back() -> None:
            for _ in range(100):
                (sent,) = struct.unpack("d", stream.recv(8, socket.MSG_WAITALL))
                times.append(1000 * (time.perf_counter() - sent))

        reader = threading.Thread(target=read_back)
        reader.start()
        for _ in range(100):
            stream.sendall(struct.pack("d", time.perf_counter()))
            time.sleep(0.003)
        reader.join()
    assert milliseconds <= min(times) and quick(times) <= milliseconds + 2, spread(times)


def test_it_refuses_where_the_target_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Program("delay", f"127.0.0.1:{port}", "40") as proxy:
        for _ in range(3):
            with connect(proxy.port) as stream, suppress(ConnectionResetError):
                assert stream.recv(1) == b"", "not refused"


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as this process may have at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_thousands_of_connections_are_answered_and_then_cost_nothing(
    many_files: None, sink: Program, far: Program
) -> None:
    count = 2000
    sink.client()
    with ExitStack() as opened:
        streams = [opened.enter_context(connect(far.port)) for _ in range(count)]
        time.sleep(0.2)
        for number, stream in enumerate(streams):
            stream.sendall(f"PUT /bucket/{number} HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".encode())
        for stream in streams:
            assert stream.recv(4096).startswith(b"HTTP/1.1 200 OK")
        assert sink.stats()["put"] == count
    # Ending 2,000 connections takes a busy machine its time; after that a whole half second costs nothing.
    until = time.monotonic() + 30.0
    used = 1.0
    while used > 0.01:
        assert time.monotonic() < until, "it does not rest"
        before = far.cpu()
        time.sleep(0.5)
        used = far.cpu() - before
