"""How botocore's clients exchange a request for an answer here: no hang lasts, and no half answer passes for a whole.

botocore's HTTP takes the end of a connection for the end of the headers, or of the body: half an answer could look
like an object without ETag, or an upload without parts. Each is a fault of the connection, told as one.
"""

from __future__ import annotations

import http.client
import socket
import threading
from functools import partial
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from bulkhaul.s3.watchdog import Watch, Watchdog

_DOG = Watchdog()


def guard_requests(client: Any) -> None:
    """Have each request of a boto3 `client` that hangs or whose answer breaks off end as a fault of the connection.

    The limits of its time follow the client's `read_timeout`. An answer that cannot be read is a `ResponseParserError`.
    """
    client._endpoint._response_parser_factory = _Parsers(client._endpoint._response_parser_factory)
    session = client._endpoint.http_session
    session._pool_classes_by_scheme.update(http=_Pool, https=_TLSPool)
    send = partial(_send, session, client.meta.config.read_timeout)
    client.meta.events.register_last("before-send", send, unique_id="bulkhaul-exchange")


def _send(session: Any, patience: float, request: Any, event_name: str, **_event: Any) -> Any:
    """What botocore takes for the answer, instead of sending the request itself."""
    # While it puts parts together, S3 sends a blank now and then.
    may_trickle = event_name.endswith(".CompleteMultipartUpload")
    watch = Watch(patience, size=int(request.headers.get("Content-Length") or 0), may_trickle=may_trickle)
    _IN_THIS_THREAD.watch = watch
    try:
        with _DOG.watching(watch):
            answer = session.send(request)
    except ReadTimeoutError:
        session.close()  # connections that lie idle may be as dead: the repetition gets a new one
        raise
    except Exception:
        if watch.verdict is None:
            raise
    finally:
        _IN_THIS_THREAD.watch = None
    if watch.verdict is not None:
        session.close()
        raise ReadTimeoutError(endpoint_url=request.url, error=TimeoutError(f"timed out: {watch.verdict}"))
    if request.method != "HEAD" and len(answer.content) < _promised(answer):
        raise ConnectionClosedError(endpoint_url=request.url, error=EOFError("the answer broke off"))
    return answer


def _promised(answer: Any) -> int:
    """How many bytes an answer says that it has: the first word where it is said twice, 0 where that is no number."""
    said = str(answer.headers.get("Content-Length") or "").split(",")[0].strip()
    return int(said) if said.isascii() and said.isdecimal() else 0


class _Parsers:
    """botocore's parsers, which take XML that is none for a fault of the answer, but not `<MaxKeys>p</MaxKeys>`."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def create_parser(self, protocol: str) -> _Parser:
        return _Parser(self._factory.create_parser(protocol))


class _Parser:
    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def parse(self, response: Any, shape: Any) -> Any:
        try:
            return self._parser.parse(response, shape)
        except ResponseParserError:
            raise
        except Exception as error:
            raise ResponseParserError(f"{type(error).__name__}: {error}") from error


class _InThisThread(threading.local):
    """The request that this thread makes."""

    watch: Watch | None = None


_IN_THIS_THREAD = _InThisThread()


class _Lines:
    """The lines of an answer's head; the last one that was read is kept."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._stream.readline(limit)
        return self.last

    def close(self) -> None:
        self._stream.close()


class _Answer(http.client.HTTPResponse):
    """Python's own, which takes the end of the connection for the end of the headers."""

    def begin(self) -> None:
        stream: Any = self.fp
        lines: Any = _Lines(stream)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = stream
        if lines.last.strip(b"\r\n") or not lines.last:
            raise http.client.RemoteDisconnected("the answer broke off in its headers")


class _Watched:
    """What a connection of botocore's does more: it shows its socket to the watch of the request that uses it.

    urllib3 gives each piece of a body the time to connect for its sending; a body in memory is one piece and did not
    get through a slow line, however steadily it went. The watch has the limits for that.
    """

    sock: Any
    timeout: Any
    response_class = _Answer

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        if (watch := _IN_THIS_THREAD.watch) is not None:
            watch.sock = sock  # for the answer of a proxy, which comes before all else
        return sock

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        if (watch := _IN_THIS_THREAD.watch) is not None:
            watch.sock = self.sock
            self.sock.settimeout(watch.most)

    def request(self, *arguments: Any, **named: Any) -> Any:
        if (watch := _IN_THIS_THREAD.watch) is not None and self.sock is not None:
            watch.sock = self.sock
            self.timeout = watch.most  # until the body is sent; then urllib3 sets the read timeout
        return super().request(*arguments, **named)  # type: ignore[misc]

    def getresponse(self) -> Any:
        if (watch := _IN_THIS_THREAD.watch) is not None and watch.sees():
            watch.sent = True
            self.timeout = watch.most  # the read timeout begins when the other side has all, not when the kernel has
        return super().getresponse()  # type: ignore[misc]


class _Connection(_Watched, AWSHTTPConnection):  # type: ignore[misc, unused-ignore]
    pass


class _TLSConnection(_Watched, AWSHTTPSConnection):  # type: ignore[misc, unused-ignore]
    pass


class _Releasing:
    """What a pool of botocore's does more: a connection that comes back is not cut off for the request that it served.

    The answer is read by then, and whoever takes the connection next sends at once.
    """

    def _put_conn(self, connection: Any) -> None:
        if (watch := _IN_THIS_THREAD.watch) is not None:
            watch.let_go()
        super()._put_conn(connection)  # type: ignore[misc]


class _Pool(_Releasing, AWSHTTPConnectionPool):  # type: ignore[misc, unused-ignore]
    ConnectionCls = _Connection


class _TLSPool(_Releasing, AWSHTTPSConnectionPool):  # type: ignore[misc, unused-ignore]
    ConnectionCls = _TLSConnection
