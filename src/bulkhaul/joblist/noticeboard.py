"""One small file in which every worker keeps one line, so that all are read at once: no truth, only news.

A line is overwritten in place, like a heartbeat: that works on a full disk, needs no lock, and two workers never write
the same bytes. Each line has a checksum; one that is torn counts as not yet changed. A worker that finds another's line
where its own should be (both took the place at the same moment, or it was silent for too long) takes another place.
"""

from __future__ import annotations

import os
import random
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bulkhaul.fsio import open_shared, storage_errors

LINE = 160
"""Bytes of a line, with its newline."""

_MOST_LINES = 10_000
_PLACES = 64  # to choose from at least, so that workers that start together seldom meet
_LEAST_READS = 4
_FREE = bytes(LINE)


@dataclass(slots=True)
class _Watch:
    """What a place held, since when, and how often that was read; times on the observer's clock."""

    line: bytes
    text: str | None
    since: float
    last_look: float
    reads: int = 1


class Noticeboard:
    """The file at `path` as one worker uses it; not thread-safe.

    A line that was seen unchanged for `silence` seconds, in at least four reads and none of them late, is its owner's
    last: it is taken away. No two clocks are compared.
    """

    def __init__(self, path: Path, *, silence: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._silence = silence
        self._clock = clock
        self._token = secrets.token_hex(6)
        self._counter = 0
        self._place: int | None = None
        self._watches: dict[int, _Watch] = {}

    def read(self) -> list[str]:
        """What the others wrote, dead ones included; nothing where there is no file.

        Raises:
            StorageError: the file cannot be read.
        """
        with storage_errors(self.path):
            try:
                with _opened(self.path, os.O_RDONLY) as fd:
                    return [text for line in _lines(fd) if (text := _text(line, self._token)) is not None]
            except FileNotFoundError:
                return []

    def exchange(self, answer: Callable[[Sequence[str], bool], str]) -> None:
        """Read what the others wrote and write in turn what `answer(others, known)` says, one line.

        `known` is true when our last line stood in its place, where the others have seen it.

        Raises:
            StorageError: the file cannot be read or written.
        """
        with storage_errors(self.path), _opened(self.path, os.O_RDWR | os.O_CREAT | os.O_DSYNC) as fd:
            lines = _lines(fd)
            known = self._place is not None and self._place < len(lines) and _is_of(lines[self._place], self._token)
            if not known:
                self._place = None
            for place in self._silent(lines):
                os.pwrite(fd, _FREE, place * LINE)
            if self._place is None:
                self._place = _free_place(lines)
            others = [watch.text for watch in self._watches.values() if watch.text is not None]
            self._counter += 1
            os.pwrite(fd, _line(f"{self._token} {self._counter} {answer(others, known)}"), self._place * LINE)

    def withdraw(self) -> None:
        """Take our line away.

        Raises:
            StorageError: it stays until it was seen unchanged for long enough.
        """
        place, self._place = self._place, None
        self._watches.clear()
        if place is None:
            return
        with storage_errors(self.path), _opened(self.path, os.O_RDWR | os.O_DSYNC) as fd:
            if _is_of(os.pread(fd, LINE, place * LINE), self._token):
                os.pwrite(fd, _FREE, place * LINE)

    def _silent(self, lines: Sequence[bytes]) -> list[int]:
        """Watch the others' lines; the places of those that were silent for too long."""
        now = self._clock()
        taken = {place: line for place, line in enumerate(lines) if line != _FREE and place != self._place}
        for place in self._watches.keys() - taken.keys():
            del self._watches[place]
        for place, line in taken.items():
            watch = self._watches.get(place)
            text = _text(line, self._token)
            if watch is None or (text is not None and line != watch.line):
                self._watches[place] = _Watch(line, text, now, now)
            elif now - watch.last_look > self._silence / 3:
                watch.since, watch.last_look, watch.reads = now, now, 1  # perhaps it was we who stood still
            else:
                watch.last_look, watch.reads = now, watch.reads + 1
        silent = [
            place
            for place, watch in self._watches.items()
            if watch.last_look - watch.since >= self._silence and watch.reads >= _LEAST_READS
        ]
        for place in silent:
            del self._watches[place]
        return silent


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    # O_DSYNC also makes NFS send the bytes of this line alone, not the page around it with older lines of others.
    fd = open_shared(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def _lines(fd: int) -> list[bytes]:
    data = os.pread(fd, _MOST_LINES * LINE, 0)
    return [data[start : start + LINE].ljust(LINE, b"\0") for start in range(0, len(data), LINE)]


def _line(text: str) -> bytes:
    body = text.encode("ascii").ljust(LINE - 10)
    assert len(body) == LINE - 10, text
    return b"%b %08x\n" % (body, zlib.crc32(body))


def _text(line: bytes, token: str) -> str | None:
    """What another worker wrote; None for a free line, a damaged one and our own."""
    body, _, checksum = line[:-1].rpartition(b" ")
    if line[-1:] != b"\n" or checksum != b"%08x" % zlib.crc32(body):
        return None
    owner, _, news = body.decode("ascii", "replace").rstrip().partition(" ")
    return None if owner == token else news.partition(" ")[2]


def _is_of(line: bytes, token: str) -> bool:
    return line.startswith(token.encode("ascii") + b" ")


def _free_place(lines: Sequence[bytes]) -> int:
    taken = {place for place, line in enumerate(lines) if line != _FREE}
    # Beyond the most lines nobody reads: a place there is taken only when all others are.
    places = max(_PLACES, min(4 * len(taken), _MOST_LINES), len(taken) + 1)
    free = sorted(set(range(places)) - taken)
    return random.choice(free)  # noqa: S311 - nothing secret
