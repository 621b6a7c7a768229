"""What can go wrong between a worker and S3: one function a fault, each for one exchange."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial

from faults.campaign.proxy import Act, Exchange, Head

_CODES = {
    400: "Bad Request",
    403: "Forbidden",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
_LONGEST = 12.0  # seconds that a fault holds a client that does not give up


def refusal(status: int, code: str, *, said: str = "by the campaign") -> bytes:
    """S3's answer of an error."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{said}</Message></Error>".encode()
    reason = _CODES.get(status, "OK")
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def refuse(exchange: Exchange, *, status: int, code: str) -> None:
    """Answer with an error; nothing is done. An answer to HEAD has no body."""
    await exchange.body()
    answer = refusal(status, code)
    await exchange.answer(answer if exchange.head.method != "HEAD" else answer.partition(b"<?xml")[0])


async def bare_gateway_error(exchange: Exchange) -> None:
    """A gateway's 502 whose body is no XML; it does not wait for the request's own."""
    body = b"<html>bad gateway</html>" * (exchange.head.method != "HEAD")
    await exchange.answer(
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


async def reset_in_request(exchange: Exchange, *, chance: random.Random) -> None:
    """The connection breaks at some byte of the request, head or body; the server saw only what came before."""
    head = len(exchange.head.data)
    body = int(exchange.head.headers.get("content-length") or 0)
    # Few bytes are the head's: each of its parts would hardly ever be the place.
    await exchange.serve_partly(chance.randrange(head + body) if chance.random() < 0.7 else chance.randrange(head))
    exchange.cut()


async def reset_in_answer(exchange: Exchange, *, chance: random.Random) -> None:
    """Done, and the connection breaks at some byte of the answer."""
    answer = await exchange.serve()
    await exchange.answer(answer[: chance.randrange(len(answer))])
    exchange.cut()


async def lose_answer(exchange: Exchange) -> None:
    """Done, and no byte of the answer arrives."""
    await exchange.serve()
    exchange.cut()


async def half_open(exchange: Exchange) -> None:
    """Nobody is there any more, and nobody says so: what a client still sends stays in its buffers."""
    await exchange.until_closed(_LONGEST)
    exchange.cut()


async def answer_never(exchange: Exchange) -> None:
    """Done, and then silence."""
    await exchange.serve()
    await exchange.until_closed(_LONGEST)
    exchange.cut()


async def slow_loris(exchange: Exchange) -> None:
    """The answer comes byte by byte: each keeps the connection alive, all of them would take minutes."""
    answer = await exchange.serve()
    end = asyncio.get_running_loop().time() + _LONGEST
    for position in range(len(answer)):
        if asyncio.get_running_loop().time() > end:
            exchange.cut()
            return
        await exchange.answer(answer[position : position + 1])
        await asyncio.sleep(0.3)


async def flip_request_bit(exchange: Exchange, *, chance: random.Random) -> None:
    """One bit of the body is another when it arrives; TCP's checksum says nothing."""
    await exchange.answer(await exchange.serve(_flipped(await exchange.body(), chance)))


async def flip_answer_bit(exchange: Exchange, *, chance: random.Random) -> None:
    """One bit of the answer's body is another."""
    head, mark, body = (await exchange.serve()).partition(b"\r\n\r\n")
    await exchange.answer(head + mark + _flipped(body, chance))


async def error_in_200(exchange: Exchange, *, done: bool) -> None:
    """Status 200 and an error document, as CompleteMultipartUpload answers; done or not."""
    if done:
        await exchange.serve()
    await exchange.answer(refusal(200, "InternalError"))


async def expired(exchange: Exchange) -> None:
    """S3's word for a token that has ended."""
    await refuse(exchange, status=400, code="ExpiredToken")


async def skewed(exchange: Exchange) -> None:
    """S3's word for a clock that is more than 15 minutes off."""
    await refuse(exchange, status=403, code="RequestTimeTooSkewed")


def _flipped(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return data
    bits = bytearray(data)
    bits[chance.randrange(len(bits))] ^= 1 << chance.randrange(8)
    return bytes(bits)


def _any(_head: Head) -> bool:
    return True


def _has_body(head: Head) -> bool:
    return int(head.headers.get("content-length") or 0) > 0


def _is_answered_at_length(head: Head) -> bool:
    # An answer to PUT, DELETE or HEAD has no body that a bit could flip in.
    return head.method in ("GET", "POST")


def _completes(head: Head) -> bool:
    return head.method == "POST" and "uploadId=" in head.target


Fits = Callable[[Head], bool]

KINDS: dict[str, tuple[Fits, Callable[[random.Random], Act]]] = {
    "reset in request": (_any, lambda chance: partial(reset_in_request, chance=chance)),
    "reset in answer": (_any, lambda chance: partial(reset_in_answer, chance=chance)),
    "answer lost": (_any, lambda _: lose_answer),
    "500": (_any, lambda _: partial(refuse, status=500, code="InternalError")),
    "502": (_any, lambda _: bare_gateway_error),
    "503 SlowDown": (_any, lambda _: partial(refuse, status=503, code="SlowDown")),
    "429": (_any, lambda _: partial(refuse, status=429, code="TooManyRequests")),
    "400 RequestTimeout": (_has_body, lambda _: partial(refuse, status=400, code="RequestTimeout")),
    "slow-loris": (_any, lambda _: slow_loris),
    "half-open": (_any, lambda _: half_open),
    "answer never": (_any, lambda _: answer_never),
    "bit flipped": (_has_body, lambda chance: partial(flip_request_bit, chance=chance)),
    "bit of the answer flipped": (_is_answered_at_length, lambda chance: partial(flip_answer_bit, chance=chance)),
    "error in 200": (_completes, lambda chance: partial(error_in_200, done=chance.random() < 0.5)),
}
"""Each fault on the wire by its name: which requests it fits, and the fault made of a random generator."""
