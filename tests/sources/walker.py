"""Another process that walks folders, one after the other, as somebody without rights."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bulkhaul.sources.tree import Entry
from unprivileged import unprivileged, without_coverage

_PROGRAM = """
import os, pickle, resource, sys, threading
from pathlib import Path
from bulkhaul.sources.tree import walk

if sys.argv[1] == "alone":
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))

for line in sys.stdin.buffer:
    entries, threads = [], 0
    for entry in walk(Path(os.fsdecode(line[:-1]))):
        entries.append(entry)
        threads = max(threads, threading.active_count() - 1)
    sys.stdout.buffer.write(pickle.dumps((entries, threads, threading.active_count() - 1)))
    sys.stdout.buffer.flush()
"""


class Walked(NamedTuple):
    """The entries, the most threads seen beside the walk's own, and those left at its end."""

    entries: list[Entry]
    threads: int
    threads_left: int


class Walker:
    """A running process that walks."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def walk(self, folder: Path) -> Walked:
        """Walk `folder` to the end."""
        self.begin(folder)
        return self.end()

    def begin(self, folder: Path) -> None:
        """Let it walk on its own."""
        assert self._process.stdin is not None
        self._process.stdin.write(os.fsencode(folder) + b"\n")
        self._process.stdin.flush()

    def end(self) -> Walked:
        """Wait for what it found."""
        assert self._process.stdout is not None
        return Walked(*pickle.load(self._process.stdout))


@contextmanager
def walker(environment: Mapping[str, str], *, alone: bool = False) -> Iterator[Walker]:
    """A process with these variables beside our own, ended with the block; `alone`: it may start no thread."""
    process = subprocess.Popen(
        unprivileged(_PROGRAM, "alone" if alone else "free"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        env={**without_coverage(os.environ), **environment},
    )
    with process:
        yield Walker(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0
