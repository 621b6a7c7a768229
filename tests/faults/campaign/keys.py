"""Keys that end: a file that workers' credentials command prints, and which of the server's access keys still count."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from servers.seaweed import Keys

_RIGHTS = ("Admin", "Read", "Write", "List", "Tagging")
TOKENS = [
    Keys(f"token{n:02}", f"TOKEN{n:02}0000000000", f"secret-of-token-{n:02}-of-campaigns", _RIGHTS) for n in range(40)
]
PUBLIC = Keys("anonymous", "", "", ("Read", "List"))
"""Whoever signs nothing: the judge, who reads each object at the cost of a bare request."""


class TokenDesk:
    """Gives out one token after the other; a token that was followed by another has ended."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "token.json"
        self._serial = 0
        self._down_until = 0.0
        self._write()

    @property
    def command(self) -> str:
        """The credentials command of a worker."""
        return f"cat {self._file}"

    @property
    def up(self) -> bool:
        """Whether a token is to be had."""
        return self._file.exists()

    def lives(self, access_key: str) -> bool:
        """Whether S3 still takes the token."""
        return access_key == TOKENS[self._serial].access_key

    def end_token(self, *, down: float = 0.0) -> None:
        """End the present token; for `down` seconds there is no new one to be had."""
        self._serial = (self._serial + 1) % len(TOKENS)
        self._down_until = time.monotonic() + down
        if down:
            self._file.unlink(missing_ok=True)
        else:
            self._write()

    def tick(self) -> None:
        """Come up again when it is time."""
        if not self._file.exists() and time.monotonic() >= self._down_until:
            self._write()

    def _write(self) -> None:
        keys = TOKENS[self._serial]
        said = {
            "Version": 1,
            "AccessKeyId": keys.access_key,
            "SecretAccessKey": keys.secret_key,
            # It says an hour and ends sooner: workers meet ExpiredToken in the middle of what they do.
            "Expiration": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        }
        private = self._file.with_suffix(".new")
        private.write_text(json.dumps(said))
        private.replace(self._file)
