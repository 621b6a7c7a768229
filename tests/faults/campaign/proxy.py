"""An HTTP proxy before a real S3 server whose exchanges can be broken at any byte; in a thread of its own.

What it passes on is what it got, byte for byte: signatures hold, since they cover the proxy's own host name, which the
server behind takes as it comes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

_LONGEST_HEAD = 1 << 17
_RESET = struct.pack("ii", 1, 0)  # a linger of zero makes the close a reset


@dataclass(frozen=True, slots=True)
class Head:
    """The first lines of a message as they came, and what of them steers the exchange."""

    data: bytes
    start: str
    headers: dict[str, str]

    @property
    def method(self) -> str:
        return self.start.partition(" ")[0]

    @property
    def target(self) -> str:
        """Of a request: path and query, still encoded."""
        return self.start.split(" ")[1]


def parse_head(data: bytes) -> Head:
    """The head of a request or answer (pure); header names in lower case."""
    start, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Head(data, start, {name.lower(): value.strip() for name, _, value in pairs})


class Exchange:
    """One request of a client and what becomes of it; the fault at hand decides how much of it goes which way."""

    def __init__(
        self,
        head: Head,
        reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        reach: Callable[[], Awaitable[Upstream]],
    ) -> None:
        self.head = head
        self._reader = reader
        self._client = client
        self._reach = reach
        self._body: bytes | None = None

    async def body(self) -> bytes:
        """The whole body, which a client sends once the head is through."""
        if self._body is None:
            self._welcome()
            self._body = await _read_body(self._reader, self.head)
        return self._body

    async def serve(self, body: bytes | None = None) -> bytes:
        """Let the server do what was asked, with `body` in place of the request's own; its whole answer."""
        own = await self.body()
        upstream = await self._reach()
        return await upstream.ask(self.head, own if body is None else body)

    async def serve_partly(self, size: int) -> None:
        """Let the server see the first `size` bytes of the request, then nothing more; no other byte is read."""
        upstream = await self._reach()
        upstream.send(self.head.data[:size])
        if size > len(self.head.data):
            self._welcome()
            upstream.send(await self._reader.readexactly(size - len(self.head.data)))
        await upstream.drain()
        upstream.reset()

    def _welcome(self) -> None:
        if self.head.headers.get("expect"):
            self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def answer(self, data: bytes) -> None:
        """Send `data` back."""
        self._client.write(data)
        await self._client.drain()

    def cut(self) -> None:
        """Reset the client's connection."""
        _reset(self._client)

    async def until_closed(self, seconds: float) -> None:
        """Wait until the client gives up, `seconds` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._client.is_closing():
                    await asyncio.sleep(0.05)
                    self._client.write(b"")
                    await self._client.drain()


class Upstream:
    """A connection to the server behind; one exchange at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def closed(self) -> bool:
        return self._writer.is_closing() or self._reader.at_eof()

    async def ask(self, head: Head, body: bytes) -> bytes:
        """Send a request; the whole answer, head and body."""
        self.send(head.data + body)
        await self.drain()
        answer = parse_head(await self._reader.readuntil(b"\r\n\r\n"))
        rest = b"" if head.method == "HEAD" else await _read_body(self._reader, answer)
        if answer.headers.get("connection", "").lower() == "close":
            self._writer.close()
        return answer.data + rest

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def reset(self) -> None:
        _reset(self._writer)

    def close(self) -> None:
        self._writer.close()


Act = Callable[[Exchange], Awaitable[None]]
"""What happens to one exchange; returning leaves the connection open for the next."""


async def pass_on(exchange: Exchange) -> None:
    """No fault."""
    await exchange.answer(await exchange.serve())


class Proxy:
    """Listens at `url`; `choose` gives each request its fate. A context manager."""

    def __init__(self, upstream: str, choose: Callable[[Head], Act], *, delay: float = 0.0) -> None:
        host, _, port = upstream.removeprefix("http://").partition(":")
        self._upstream = (host, int(port))
        self._choose = choose
        self._delay = delay
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self.url = ""

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._meet, "127.0.0.1", 0, limit=_LONGEST_HEAD, backlog=256)

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        upstream: Upstream | None = None

        async def reach() -> Upstream:
            nonlocal upstream
            if upstream is None or upstream.closed:
                upstream = Upstream(*await asyncio.open_connection(*self._upstream, limit=_LONGEST_HEAD))
            return upstream

        # A client that goes away in the middle, and a task that ends with the proxy, are the daily bread here.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not client.is_closing():
                head = parse_head(await reader.readuntil(b"\r\n\r\n"))
                await asyncio.sleep(self._delay)
                exchange = Exchange(head, reader, client, reach)
                await self._choose(head)(exchange)
                if not client.is_closing():
                    await exchange.body()  # the next request begins behind it
        if upstream is not None:
            upstream.close()
        client.close()


async def _read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    if head.headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(head.headers.get("content-length") or 0))
    pieces = []
    while True:
        line = await reader.readuntil(b"\r\n")
        piece = await reader.readexactly(int(line.split(b";")[0], 16) + 2)
        pieces += [line, piece]
        if len(piece) == 2:
            return b"".join(pieces)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
