"""Servers and clients of plain bytes on either side of the proxy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from benchmarks.running import Program


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that gives each connection to `serve` in a thread of its own; its port."""
    threads: list[threading.Thread] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                stream, _ = listener.accept()
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threads.append(threading.Thread(target=_serve, args=(serve, stream), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for thread in (accepting, *threads):
            thread.join(20)


def _serve(serve: Callable[[socket.socket], None], stream: socket.socket) -> None:
    with stream:
        serve(stream)


def echo(stream: socket.socket) -> None:
    """Send back what comes, and the end when it comes."""
    while some := stream.recv(1 << 18):
        stream.sendall(some)


@contextmanager
def proxied(serve: Callable[[socket.socket], None], milliseconds: float = 40) -> Iterator[int]:
    """The port of a proxy in front of such a server."""
    with server(serve) as port, Program("delay", f"127.0.0.1:{port}", str(milliseconds)) as proxy:
        yield proxy.port


def connect(port: int) -> socket.socket:
    """A connection that sends each piece at once."""
    stream = socket.create_connection(("127.0.0.1", port), timeout=20)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream
