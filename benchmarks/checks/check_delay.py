"""The proxy: what it adds, that it loses and reorders nothing, and that ends and resets go through."""

from __future__ import annotations

import hashlib
import http.client
import random
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab import Program

MIB = 1 << 20


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that gives each connection to `serve` in a thread of its own; its port."""

    def accept() -> None:
        with suppress(OSError):
            while True:
                stream, _ = listener.accept()
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=serve, args=(stream,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def echo(stream: socket.socket) -> None:
    """Send back what comes, and the end when it comes."""
    with stream:
        while some := stream.recv(1 << 18):
            stream.sendall(some)


@contextmanager
def proxied(serve: Callable[[socket.socket], None], milliseconds: float = 40) -> Iterator[int]:
    with server(serve) as port, Program("delay", f"127.0.0.1:{port}", str(milliseconds)) as proxy:
        yield proxy.port


def connect(port: int) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port), timeout=20)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def quick(times: list[float]) -> float:
    """The lower quartile: on a machine whose cores are taken away for 100 ms at a time, more than that says nothing."""
    return sorted(times)[len(times) // 4]


def spread(times: list[float]) -> str:
    times = sorted(times)
    middle = times[len(times) // 2]
    return f"least {times[0]:.2f}, quartile {quick(times):.2f}, median {middle:.2f}, most {times[-1]:.2f} ms"


def check_delay_of_a_put() -> str:
    """A kept connection costs one round trip a request; a new one costs one more."""
    kept, new = [], []
    with Program("sink") as sink, Program("delay", f"127.0.0.1:{sink.port}", "40") as proxy:
        sink.client()
        for _ in range(5):
            client = http.client.HTTPConnection("127.0.0.1", proxy.port)
            for request in range(11):
                begun = time.perf_counter()
                client.request("PUT", f"/bucket/{request}", body=bytes(16384))
                answer = client.getresponse()
                answer.read()
                (kept if request else new).append(1000 * (time.perf_counter() - begun))
                assert answer.status == 200
            client.close()
    assert min(kept) >= 40 and quick(kept) <= 45, spread(kept)
    assert min(new) >= 80 and quick(new) <= 90, spread(new)
    return f"kept: {spread(kept)}; new: {spread(new)}"


def check_delay_of_small_messages() -> str:
    """Bytes sent every few milliseconds arrive as they were sent, each in its time."""
    notes = []
    for milliseconds in (0, 1, 10, 100):
        times: list[float] = []
        with proxied(echo, milliseconds) as port, connect(port) as stream:
            stream.sendall(b"0" * 8)
            stream.recv(8, socket.MSG_WAITALL)

            def read_back() -> None:
                for _ in range(200):
                    (sent,) = struct.unpack("d", stream.recv(8, socket.MSG_WAITALL))
                    times.append(1000 * (time.perf_counter() - sent))

            reader = threading.Thread(target=read_back)
            reader.start()
            for _ in range(200):
                stream.sendall(struct.pack("d", time.perf_counter()))
                time.sleep(0.003)
            reader.join()
        assert milliseconds <= min(times) and quick(times) <= milliseconds + 2, spread(times)
        notes.append(f"{milliseconds}: {spread(times)}")
    return "; ".join(notes)


def check_delay_loses_nothing() -> str:
    """Many connections at once, each with its own bytes, come back whole and end when they ended."""
    digests: dict[int, tuple[str, str]] = {}

    def exchange(number: int) -> None:
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

    with proxied(echo, 20) as port:
        threads = [threading.Thread(target=exchange, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(digests) == 40
    assert all(sent == received for sent, received in digests.values())
    return "40 connections, 0 to 4 MiB each way"


def check_delay_does_not_limit_bandwidth() -> str:
    """400 MiB at 40 ms: far more than a window of 64 KiB a round trip."""
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
    return f"{size / MIB / seconds:.0f} MiB/s"


def check_delay_buffers_64_mib_and_no_more() -> str:
    go_on = threading.Event()

    def dawdle(stream: socket.socket) -> None:
        go_on.wait(20)
        total = 0
        while some := stream.recv(MIB):
            total += len(some)
        stream.sendall(total.to_bytes(8, "big"))
        stream.close()

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
    return f"{sent / MIB:.0f} MiB taken from a sender whose reader sleeps"


def check_delay_passes_on_half_closes_and_resets() -> None:
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
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
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
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert done.wait(5)
        with connect(port) as stream:  # the server resets
            stream.sendall(b"reset")
            time.sleep(0.1)
            stream.sendall(b"x")
            try:
                stream.recv(100)
                raise AssertionError("no reset")
            except ConnectionResetError:
                pass
    assert ended == ["end", "reset", "data"], ended


def check_delay_refuses_where_the_target_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Program("delay", f"127.0.0.1:{port}", "40") as proxy:
        for _ in range(3):
            with connect(proxy.port) as stream, suppress(ConnectionResetError):
                assert stream.recv(1) == b"", "not refused"


def check_delay_of_thousands_of_connections() -> str:
    count = 2000
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with Program("sink") as sink, Program("delay", f"127.0.0.1:{sink.port}", "40") as proxy:
        sink.client()
        streams = [connect(proxy.port) for _ in range(count)]
        time.sleep(0.2)
        begun = time.perf_counter()
        for number, stream in enumerate(streams):
            stream.sendall(f"PUT /bucket/{number} HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".encode())
        for stream in streams:
            assert stream.recv(4096).startswith(b"HTTP/1.1 200 OK")
        seconds = time.perf_counter() - begun
        assert sink.stats()["put"] == count
        for stream in streams:
            stream.close()
        time.sleep(0.2)
        with Path(f"/proc/{proxy.process.pid}/status").open() as status:
            memory = next(line.split(None, 1)[1].strip() for line in status if line.startswith("VmRSS"))
        before = _cpu(proxy.process.pid)
        time.sleep(0.5)
        assert _cpu(proxy.process.pid) - before <= 1, "it does not rest"
    return f"{count} answers in {1000 * seconds:.0f} ms, {memory} afterwards"


def _cpu(pid: int) -> int:
    with Path(f"/proc/{pid}/stat").open() as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
