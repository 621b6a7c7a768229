"""Keys that really end: who may sign, and until when. No signature is checked here; SeaweedFS does that."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from servers.stub.message import Answer, Request, error


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """One set of temporary keys; `ends_at` in seconds since the epoch, None for fixed keys."""

    access_key: str
    secret_key: str
    session_token: str
    ends_at: float | None

    @property
    def expiration(self) -> str:
        assert self.ends_at is not None
        return datetime.fromtimestamp(self.ends_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Tokens:
    """The registry: issues tokens and judges requests by the access key that signed them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._tokens: dict[str, IssuedToken] = {}

    def issue(self, life: float | None) -> IssuedToken:
        """A new token that is good for `life` seconds (None: for ever)."""
        with self._lock:
            number = next(self._numbers)
            end = None if life is None else time.time() + life
            token = IssuedToken(f"STUBKEY{number:09d}", f"stub-secret-{number}", f"stub-session-{number}", end)
            self._tokens[token.access_key] = token
            return token

    def admit(self, token: IssuedToken) -> None:
        """Let a token that somebody else has given out pass."""
        with self._lock:
            self._tokens[token.access_key] = token

    def end_all(self) -> None:
        """Every temporary token issued so far has ended from now on, whatever it says of itself."""
        with self._lock:
            for name, token in self._tokens.items():
                if token.ends_at is not None:
                    self._tokens[name] = IssuedToken(name, token.secret_key, token.session_token, 0.0)

    @property
    def issued(self) -> int:
        """How many tokens were issued."""
        return len(self._tokens)

    def judge(self, request: Request) -> Answer | None:
        """The refusal of a request whose signer is unknown or whose token has ended; None when it may pass."""
        token = self._tokens.get(request.access_key)
        if token is None:
            code = "InvalidAccessKeyId" if request.access_key else "AccessDenied"
            return error(403, code, "The AWS Access Key Id you provided does not exist in our records.")
        if token.ends_at is not None and time.time() >= token.ends_at:
            return error(400, "ExpiredToken", "The provided token has expired.")
        return None
