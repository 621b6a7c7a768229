"""A proxy before an S3 server that flips one bit of each body, once; TCP's own checksum is right again."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Flip:
    """One body that was damaged on its way: the request's target, which bit, and how the server answered."""

    target: str
    bit: int
    status: int


class FlippingProxy:
    """Passes everything on to `url`; a context manager. `flips` are the bodies that were damaged so far.

    The first body of each PUT's target is damaged, a repeated one is not. Which bit follows from `seed` and target.
    """

    def __init__(self, url: str, *, seed: int) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._seed = seed
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._sockets: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._thread = threading.Thread(target=self._accept)
        self.flips: list[Flip] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> FlippingProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(self._server) as server:
            with self._lock:
                self._sockets |= {client, server}
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                with client.makefile("rb") as requests, server.makefile("rb") as answers:
                    while self._pass_one(requests, server, answers, client):
                        pass
            finally:
                with self._lock:
                    self._sockets -= {client, server}

    def _pass_one(self, requests: BinaryIO, server: socket.socket, answers: BinaryIO, client: socket.socket) -> bool:
        """One request and its answer; False when either side has ended."""
        head = _head(requests)
        if not head:
            return False
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        body = requests.read(_length(head))
        bit = self._bit(target, len(body)) if method == "PUT" and body else None
        server.sendall(head + (body if bit is None else flipped(body, bit)))
        answer = _head(answers)
        if not answer:
            return False
        if bit is not None:
            with self._lock:
                self.flips.append(Flip(target, bit, int(answer.split(b" ", 2)[1])))
        client.sendall(answer + (b"" if method == "HEAD" else _body(answers, answer)))
        return True

    def _bit(self, target: str, size: int) -> int | None:
        with self._lock:
            if target in self._seen:
                return None
            self._seen.add(target)
        return random.Random(f"{self._seed} {target}").randrange(8 * size)


def flipped(body: bytes, bit: int) -> bytes:
    """The body with one bit changed."""
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _head(stream: BinaryIO) -> bytes:
    """Everything up to the empty line; nothing when the other side has ended."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _field(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _length(head: bytes) -> int:
    return int(_field(head, b"content-length") or 0)


def _body(stream: BinaryIO, head: bytes) -> bytes:
    """The body of an answer as it came."""
    if _field(head, b"transfer-encoding").lower() != b"chunked":
        return stream.read(_length(head))
    pieces = []
    while True:
        size = stream.readline()
        piece = stream.read(int(size.split(b";")[0], 16) + 2)
        pieces += [size, piece]
        if piece == b"\r\n":
            return b"".join(pieces)
