"""Large uploads for the tests: a journal in a file, a file to send, and a child process that can be killed at it.

Run as `python -m s3.large URL BUCKET FILE JOURNAL [ACCESS_KEY SECRET_KEY]` it sends FILE and prints a line for each
part that is there. SIGTERM stops it as it stops a worker.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bulkhaul.errors import Stopped
from bulkhaul.s3.engine import Repeat
from bulkhaul.s3.multipart import LargeResult, UploadJournal, upload_large
from bulkhaul.s3.parts import OpenFile
from bulkhaul.s3.policy import RetryPolicy
from bulkhaul.s3.retry import open_gate, repeat
from bulkhaul.stopping import StopRequest
from s3.reach import client_for, fixed_source
from servers.seaweed import ADMIN

MIB = 2**20
PART = 5 * MIB


class FileJournal:
    """Uploads by key in a JSON file, rewritten whole; `events` says what this process noted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.events: list[str] = []

    def find(self, key: str, *, size: int, mtime_ns: int, ctime_ns: int) -> tuple[str, int] | None:
        noted = self.noted().get(key)
        if noted is None or noted["version"] != [size, mtime_ns, ctime_ns]:
            return None
        return noted["upload_id"], noted["part_size"]

    def beginning(self, key: str) -> None:
        """Nobody cleans up after these tests."""

    def unanswered(self, key: str) -> None:
        self.events.append("unanswered")

    def begun(self, key: str, upload_id: str, part_size: int, size: int, mtime_ns: int, ctime_ns: int) -> None:
        self.events.append("begun")
        entry = {"upload_id": upload_id, "part_size": part_size, "version": [size, mtime_ns, ctime_ns]}
        self._write(self.noted() | {key: entry})

    def forsaken(self, key: str) -> None:
        self.events.append("forsaken")
        self._write({name: entry for name, entry in self.noted().items() if name != key})

    def gone(self, key: str) -> None:
        self.events.append("gone")
        self._write({name: entry for name, entry in self.noted().items() if name != key})

    def noted(self) -> dict[str, Any]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def _write(self, noted: dict[str, Any]) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(noted))
        fresh.replace(self._path)


def make_file(path: Path, size: int) -> Path:
    """A file of `size` bytes that differ from part to part and from run to run of nothing."""
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def fast_repeat(source: Any, gate: Callable[[], None] = open_gate) -> Repeat:
    """The real repetition with short pauses."""
    return partial(repeat, source=source, gate=gate, policy=RetryPolicy(first_pause=0.01, longest_pause=0.05))


@contextmanager
def open_file(path: Path) -> Iterator[OpenFile]:
    """The file as a transfer hands it over."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        yield OpenFile(file.fileno(), path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def send(client: Any, bucket: str, path: Path, journal: UploadJournal, **changed: Any) -> LargeResult:
    """Upload `path` as `lab/large` in parts of 5 MiB; `changed` replaces any other argument."""
    arguments: dict[str, Any] = {
        "part_size": PART,
        "journal": journal,
        "repeat": fast_repeat(None),
        "gate": open_gate,
        "on_bytes": lambda _count: None,
    }
    with open_file(path) as file:
        return upload_large(client, bucket, "lab/large", file, **arguments | changed)


def main(
    url: str,
    bucket: str,
    file: str,
    journal: str,
    access_key: str = ADMIN.access_key,
    secret_key: str = ADMIN.secret_key,
) -> None:
    client = client_for(url, access_key, secret_key)
    report: Callable[[int], None] = lambda count: print(os.getpid(), count, flush=True)  # noqa: E731
    stop = StopRequest()
    again = fast_repeat(fixed_source(access_key, secret_key), stop.check)
    with stop.listening():
        try:
            send(
                client,
                bucket,
                Path(file),
                FileJournal(Path(journal)),
                repeat=again,
                gate=stop.check,
                on_bytes=report,
                threads=1,
            )
        except Stopped as error:
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
