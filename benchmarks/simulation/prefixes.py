"""What S3 gives to workers that have shared prefixes for long: a level share of what pacing makes of the limit."""

from __future__ import annotations

import zlib

LIMIT = 3_500.0
"""PUT a second that S3 takes for one prefix."""


class Prefixes:
    """Prefixes with the same limit; `share` of it is used by all workers together, `most` files a second by one."""

    def __init__(self, count: int, *, share: float, most: float) -> None:
        self._most = most
        self._rate = share * LIMIT
        self._active = [0] * count

    def enter(self, job: str) -> int:
        """Begin to send a job; the number of its prefix."""
        prefix = zlib.crc32(job.encode()) % len(self._active)
        self._active[prefix] += 1
        return prefix

    def leave(self, prefix: int) -> None:
        """Send no more there."""
        self._active[prefix] -= 1

    def rate(self, prefix: int) -> float:
        """Files a second for one worker now."""
        return min(self._most, self._rate / max(1, self._active[prefix]))
