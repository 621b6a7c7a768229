"""Our own stateful S3 stub over real HTTP: what no real server does on command.

Tokens that end, 503, hangs, lost answers, listings in byte order, Access Grants, a log of requests. It lives in the
test's process; as a front it passes everything on to a real server after it has judged the token.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from servers.stub import operations
from servers.stub.front import Front
from servers.stub.grants import Grants
from servers.stub.message import Answer, Request, error, parse_target
from servers.stub.script import RequestLog, Script
from servers.stub.store import Store
from servers.stub.tokens import IssuedToken, Tokens

__all__ = ["Front", "IssuedToken", "StubS3"]


class StubS3:
    """A running stub: `url`, and its parts to look into and to script. A context manager.

    `denied` and `lacking` name operations that are answered 403 AccessDenied and 501 NotImplemented; `allows` may deny
    by the whole request. `tls` takes the paths of a certificate and its key.
    """

    def __init__(self, *, front: Front | None = None, tls: tuple[Path, Path] | None = None) -> None:
        self.store = Store()
        self.tokens = Tokens()
        self.script = Script()
        self.log = RequestLog()
        self.grants = Grants(self.tokens)
        self.denied: set[str] = set()
        self.lacking: set[str] = set()
        self.clock_ahead = 0.0
        self.allows: Callable[[Request], bool] = lambda _request: True
        self._serve: Callable[[Request], Answer] = front.serve if front else self._from_store
        self._server = _Server(self._answer, lambda: time.time() + self.clock_ahead)
        scheme = "http"
        if tls is not None:
            self._server.speak_tls(*tls)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> StubS3:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.script.closing.set()
        self._server.shutdown()
        self._server.drop_connections()
        self._server.server_close()
        self._thread.join()

    @property
    def busy(self) -> bool:
        """Whether a client is connected; all that was asked by those that have gone is done and in the log."""
        return bool(self._server.open_connections)

    def environment(self, token: IssuedToken) -> dict[str, str]:
        """AWS's own variables for a process that uses `token` at this stub, Access Grants included."""
        return {
            "AWS_ACCESS_KEY_ID": token.access_key,
            "AWS_SECRET_ACCESS_KEY": token.secret_key,
            "AWS_SESSION_TOKEN": token.session_token,
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            **self.grants_environment(),
        }

    def grants_environment(self) -> dict[str, str]:
        """The variables with which `s3control` comes here: boto3 puts the account before the host, so by a proxy."""
        return {
            "AWS_ENDPOINT_URL_S3_CONTROL": "http://s3control.test",
            "HTTP_PROXY": self.url,
            "http_proxy": self.url,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def _answer(self, request: Request) -> Answer:
        answer = self._judged(request)
        self.log.add(request, answer)
        return answer

    def _judged(self, request: Request) -> Answer:
        refusal = self.tokens.judge(request)
        if refusal is not None:
            return refusal
        if request.operation in self.denied or not self.allows(request):
            return error(403, "AccessDenied", "Access Denied")
        if request.operation in self.lacking:
            return error(501, "NotImplemented", "A header or query you provided requests a function not implemented")
        serve = self.grants.serve if request.operation == "GetDataAccess" else self._serve
        act = self.script.take(request)
        return serve(request) if act is None else act(request, lambda: serve(request))

    def _from_store(self, request: Request) -> Answer:
        return operations.serve(self.store, request)


class _Server(ThreadingHTTPServer):
    """Threads that end with the stub: their connections are dropped, then they are joined."""

    daemon_threads = False
    request_queue_size = 256

    def __init__(self, answer: Callable[[Request], Answer], clock: Callable[[], float]) -> None:
        self.answer = answer
        self.clock = clock
        self.open_connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def speak_tls(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # Without a handshake in `accept` a refused certificate ends its own thread, not the server's.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def track(self, connection: socket.socket) -> None:
        self.open_connections.add(connection)

    def forget(self, connection: socket.socket) -> None:
        self.open_connections.discard(connection)

    def drop_connections(self) -> None:
        for connection in list(self.open_connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive; each request becomes a value and each answer goes out in one write."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.track(self.connection)

    def finish(self) -> None:
        self.server.forget(self.connection)
        with suppress(OSError):
            super().finish()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, query = parse_target(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(self.server.answer(Request(self.command, path, query, headers, body)))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815 - http.server's names

    def handle_expect_100(self) -> bool:
        # The answer lies in our write buffer; a client that waits for it would wait out its second.
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on

    def _send(self, answer: Answer) -> None:
        if answer.cut:
            # A linger of zero makes the close a reset, as a broken network does.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("x-amz-request-id", "stub")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.clock() if timestamp is None else timestamp)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr; the stub keeps its own log."""
