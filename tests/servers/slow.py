"""A server over real TCP whose first requests meet a fault of time; those that follow go to the stub's own store."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

Fault = Callable[["SlowFront", socket.socket], None]
"""What becomes of one connection from its first byte; the connection is closed when it returns."""

_INTERVAL = 0.05  # seconds from byte to byte, far below any read timeout


def takes_nothing(front: SlowFront, _connection: socket.socket) -> None:
    """Accept and never read."""
    front.closing.wait(60)


def takes_bytes(front: SlowFront, connection: socket.socket) -> None:
    """Read the request a byte at a time."""
    while connection.recv(1) and not front.closing.wait(_INTERVAL):
        pass


def answers_bytes(front: SlowFront, connection: socket.socket) -> None:
    """Read at once, answer the headers a byte at a time."""
    _drain(connection)
    front.trickle(connection, b"HTTP/1.1 200 OK\r\nx-amz-request-id: " + b"a" * 10_000)


def answers_a_body_of_bytes(front: SlowFront, connection: socket.socket) -> None:
    """Headers at once, then the body a byte at a time."""
    _drain(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 10000\r\n\r\n')
    front.trickle(connection, b" " * 10_000)


def goes_silent(front: SlowFront, connection: socket.socket) -> None:
    """Half of an answer, then nothing."""
    _drain(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 1000\r\n\r\n<?xml version="1.0"?><List')
    front.closing.wait(60)


def goes_silent_in_the_headers(front: SlowFront, connection: socket.socket) -> None:
    """The first line of an answer, then nothing."""
    _drain(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    front.closing.wait(60)


def breaks_off_in_the_headers(_front: SlowFront, connection: socket.socket) -> None:
    """Part of the headers, then the ordinary end of a connection."""
    _drain(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "e')
    connection.shutdown(socket.SHUT_WR)


def breaks_off_in_the_body(_front: SlowFront, connection: socket.socket) -> None:
    """Headers that announce a body, then the ordinary end of a connection."""
    _drain(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 1000\r\n\r\n')
    connection.shutdown(socket.SHUT_WR)


HANGS = [takes_nothing, takes_bytes, answers_bytes, answers_a_body_of_bytes, goes_silent, goes_silent_in_the_headers]
BREAKS = [breaks_off_in_the_headers, breaks_off_in_the_body]


class SlowFront:
    """In front of the server at `url`: the first `times` connections meet `fault`, all others are passed through.

    `url` is its own address, `met` how many have met the fault so far. With `tls`, paths of a certificate and its key,
    it is spoken to over TLS. A context manager.
    """

    def __init__(self, behind: str, fault: Fault, *, times: int = 1, tls: tuple[Path, Path] | None = None) -> None:
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*tls)
        self._behind = urlsplit(behind)
        self._fault = fault
        self._times = times
        self.met = 0
        self.accepted = 0
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that a body does not fit
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(64)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> SlowFront:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        for one in (self._listening, *list(self._open)):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def trickle(self, connection: socket.socket, data: bytes) -> None:
        """Send `data` a byte at a time."""
        for byte in data:
            if self.closing.wait(_INTERVAL):
                return
            connection.sendall(bytes([byte]))

    def _accept(self) -> None:
        threads = []
        with suppress(OSError):
            while not self.closing.is_set():
                connection, _ = self._listening.accept()
                self.accepted += 1
                threads.append(threading.Thread(target=self._serve, args=(connection,)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve(self, plain: socket.socket) -> None:
        self._open.add(plain)
        spoken_to = self._context.wrap_socket if self._context else _as_it_is
        with plain, suppress(OSError), spoken_to(plain, server_side=True) as connection:
            self._open.add(connection)
            if self.met < self._times:
                self.met += 1
                self._fault(self, connection)
            else:
                self._pass_on(connection)

    def _pass_on(self, connection: socket.socket) -> None:
        assert self._behind.port is not None
        with socket.create_connection((self._behind.hostname, self._behind.port)) as server:
            self._open.add(server)
            back = threading.Thread(target=_copy, args=(server, connection))
            back.start()
            _copy(connection, server)
            back.join()


def _as_it_is(connection: socket.socket, *, server_side: bool) -> socket.socket:
    return connection


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _drain(connection: socket.socket) -> None:
    """Read a request: until nothing more comes for a moment."""
    connection.settimeout(0.2)
    with suppress(TimeoutError):
        while connection.recv(1 << 20):
            pass
    connection.settimeout(None)
