"""The keys of one moment, and how obstore gets them: all that a process which only sends needs of credentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bulkhaul.errors import CredentialsError

# obstore asks again for each request (at most each 100 ms) while less than 5 minutes are left: a nearer end than the
# real one makes a renewed token reach it at once, also when the first one had no end or a distant one.
_OBSTORE_LIFE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Token:
    """One set of keys; `expires_at` is in UTC, None when it is not known or there is no end."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


def obstore_provider(fresh_token: Callable[[], Token]) -> Callable[[], dict[str, Any]]:
    """A source's `token` as obstore's `credential_provider` wants it.

    obstore hides what a provider raises, so call `fresh_token` before the request: it raises plainly. A token that
    ended between the two is used once more: S3 refuses it, and that is an error with a rule.
    """
    last: Token | None = None

    def provide() -> dict[str, Any]:
        nonlocal last
        try:
            token = last = fresh_token()
        except CredentialsError:
            if last is None:
                raise
            token = last
        soon = datetime.now(UTC) + _OBSTORE_LIFE
        return {
            "access_key_id": token.access_key,
            "secret_access_key": token.secret_key,
            "token": token.session_token,
            "expires_at": soon if token.expires_at is None else min(soon, token.expires_at),
        }

    return provide
