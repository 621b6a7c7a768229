"""HTTP as bytes: requests put together by hand, and a connection that says them."""

from __future__ import annotations

import socket
import time
from base64 import b64encode

from anycrc import Model

from benchmarks.running import Program


def crc_of(body: bytes) -> str:
    """A checksum as S3's headers carry it."""
    return b64encode(Model("CRC64-NVME").calc(body).to_bytes(8, "big")).decode()


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
    """A PUT into `bucket`; the headers say how long the body is."""
    lines = [f"PUT /bucket/{key} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(body: bytes, size: int, *, extension: str = "", trailers: tuple[str, ...] = ()) -> bytes:
    """A body in chunks of `size`, each with an extension, and trailers behind the last."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)] + [b""]
    framed = b"".join(f"{len(one):x}{extension}\r\n".encode() + one + b"\r\n" * bool(one) for one in pieces)
    return framed + "".join(f"{line}\r\n" for line in trailers).encode() + b"\r\n"


def sizes(sink: Program) -> dict[str, int]:
    """What is stored, by key."""
    page = sink.client().list_objects_v2(Bucket="bucket")
    return {one["Key"]: one["Size"] for one in page.get("Contents", ())}
