"""What a worker and its sender processes say to each other: values, pickled one after the other, over two pipes."""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bulkhaul.s3.endpoint import Endpoint, S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token


@dataclass(frozen=True, slots=True)
class Begin:
    """To a sender: the dataset that the files to come belong to, and how its bucket is reached."""

    source: Path
    location: S3Location
    endpoint: Endpoint
    options: S3Options
    part_size: int
    checksums: bool = True


@dataclass(frozen=True, slots=True)
class Files:
    """To a sender: tasks as `spool.encode_batch` writes them, numbered from `first` on."""

    first: int
    batch: bytes


@dataclass(frozen=True, slots=True)
class Pulse:
    """To a sender, twice a second and at each change: go on, with so many requests at once and these keys.

    `at` is the moment on this machine's monotonic clock, the same in all processes, at which the gate was open.
    """

    limit: int
    token: Token
    at: float


@dataclass(frozen=True, slots=True)
class Finish:
    """To a sender: drop what is queued, end what is in flight, and say `Finished`."""


@dataclass(slots=True)
class Settled:
    """From a sender, and its answer to a pulse: what has become of files since the last one.

    Numbers with their records as lines (and whether a body was sent), and numbers handed back.

    Beside them the requests that succeeded, with their bytes and their seconds, and whether one was throttled.
    """

    records: list[tuple[int, bytes, bool]] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    requests: int = 0
    nbytes: int = 0
    seconds: float = 0.0
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """From a sender: nothing of the dataset is in flight any more."""


Message = Begin | Files | Pulse | Finish | Settled | Finished


class Channel:
    """One end of the two pipes; one thread receives. Whoever sends may wait for the other side to read."""

    def __init__(self, reading: IO[bytes], writing: IO[bytes]) -> None:
        self._reading = reading
        self._writing = writing
        self._lock = threading.Lock()

    def send(self, message: Message) -> bool:
        """Send a message; False when nobody listens any more."""
        try:
            with self._lock:
                pickle.dump(message, self._writing)
                self._writing.flush()
        except (OSError, ValueError):  # ValueError: closed by our own side
            return False
        return True

    def receive(self) -> Message | None:
        """The next message; None when the other side has ended, also in the midst of one."""
        try:
            message: Message = pickle.load(self._reading)  # noqa: S301 - a pipe between a process and its child
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            return None
        return message

    def close(self) -> None:
        """Send no more: the other side sees the end."""
        try:
            with self._lock:
                self._writing.close()
        except OSError:
            return  # the other side has ended first, and what was still to be flushed is of no use
