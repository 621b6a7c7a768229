"""A folder that is as slow as a parallel file system, and counts its calls, for programs that a test starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Calls:
    """What one process asked the folder's server, the threads that it started, and the most calls at one time."""

    opens: int
    listings: int
    stats: int
    reads: int
    threads: int
    most_at_once: int


class SlowFiles:
    """`folder` with `round_trip` seconds for each call that a parallel file system sends to its server."""

    def __init__(self, library: Path, folder: Path, *, round_trip: float, counts: Path) -> None:
        self._library, self._folder, self._round_trip, self._counts = library, folder, round_trip, counts
        counts.touch()
        counts.chmod(0o666)  # whoever walks adds to it

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program's environment needs for it."""
        return {
            "LD_PRELOAD": str(self._library),
            "SLOW_FILES_UNDER": str(self._folder),
            "SLOW_FILES_MICROSECONDS": str(round(self._round_trip * 1e6)),
            "SLOW_FILES_COUNTS": str(self._counts),
        }

    def calls(self) -> list[Calls]:
        """The counts of each process that has ended."""
        return [Calls(*map(int, line.split())) for line in self._counts.read_text().splitlines()]
