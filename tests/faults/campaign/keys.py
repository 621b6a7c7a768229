"""Tokens that end: a small STS that workers take their role from, and which of the server's access keys still count."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from servers.seaweed import Keys

_RIGHTS = ("Admin", "Read", "Write", "List", "Tagging")
TOKENS = [
    Keys(f"token{n:02}", f"TOKEN{n:02}0000000000", f"secret-of-token-{n:02}-of-campaigns", _RIGHTS) for n in range(40)
]
PUBLIC = Keys("anonymous", "", "", ("Read", "List"))
"""Whoever signs nothing: the judge, who reads each object at the cost of a bare request."""

# SeaweedFS knows the keys and would ask what issued a session token, so there is none.
_ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><Expiration>{end}</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""


class TokenDesk:
    """Gives out one token after the other; one that was followed by another has ended. A context manager.

    `outages_met` counts the times that it was down while somebody asked.
    """

    def __init__(self) -> None:
        self._serial = 0
        self._down_until = 0.0
        self._asked_in_vain = False
        self._lock = threading.Lock()
        self.outages_met = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a worker ask here."""
        return {
            "BULKHAUL_CREDENTIALS": "assume-role",
            "BULKHAUL_ROLE_ARN": "arn:aws:iam::123456789012:role/campaign",
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{self._server.server_address[1]}",
        }

    @property
    def up(self) -> bool:
        """Whether a token is to be had."""
        return time.monotonic() >= self._down_until

    def lives(self, access_key: str) -> bool:
        """Whether S3 still takes the token."""
        return access_key == TOKENS[self._serial].access_key

    def end_token(self, *, down: float = 0.0) -> None:
        """End the present token; for `down` seconds there is no new one to be had."""
        with self._lock:
            self._serial = (self._serial + 1) % len(TOKENS)
            if down:
                self._down_until = time.monotonic() + down
                self._asked_in_vain = False

    def _answer(self) -> bytes | None:
        """A token; None while it is down."""
        with self._lock:
            if not self.up:
                self.outages_met += not self._asked_in_vain
                self._asked_in_vain = True
                return None
            keys = TOKENS[self._serial]
        # It says an hour and ends sooner: workers meet ExpiredToken in the middle of what they do.
        end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        return _ANSWER.format(key=keys.access_key, secret=keys.secret_key, end=end).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert b"Action=AssumeRole" in body
                answer = desk._answer()
                if answer is None and body[-1] % 2:
                    return  # it hangs up
                self.send_response(200 if answer else 503)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(answer or b"")))
                self.end_headers()
                self.wfile.write(answer or b"")

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on stderr."""

        return Handler
