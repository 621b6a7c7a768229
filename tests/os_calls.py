"""What a piece of code asks of the file system, counted one level below it: at the functions of `os` and at each open.

Counts do not depend on the machine. What follows on a descriptor is seen as far as it goes through `os`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from opens import heard_opens

_BY_PATH = ("link", "lstat", "mkdir", "rename", "replace", "scandir", "stat", "unlink")
_BY_DESCRIPTOR = ("close", "fstat", "fsync", "pread", "read")


@dataclass
class Calls:
    """What was asked of entries below `folder`; safe from many threads, since each note is one append."""

    folder: str
    opens: list[tuple[str, int]] = field(default_factory=list)
    others: list[tuple[str, str]] = field(default_factory=list)
    nbytes_read: list[int] = field(default_factory=list)

    def note_open(self, path: Any, flags: int) -> None:
        """Note an open, if it is of an entry below the folder."""
        if self.has(path):
            self.opens.append((os.fsdecode(path), flags))

    def counts(self) -> Counter[str]:
        """How often each was called; an open that may create is a `create`, one of a folder a `folder`."""
        return Counter([*(_kind(flags) for _, flags in self.opens), *(name for name, _ in self.others)])

    def opened(self) -> list[str]:
        """The names below the folder that were opened, in order; folders to be listed too."""
        return [os.path.relpath(path, self.folder) for path, _ in self.opens]

    def has(self, path: object) -> bool:
        """Whether a path lies below the folder, or is it."""
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        text = os.fsdecode(path)
        return text == self.folder or text.startswith(f"{self.folder}/")


def _kind(flags: int) -> str:
    if flags & os.O_CREAT:
        return "create"
    return "folder" if flags & os.O_DIRECTORY else "open"


@contextmanager
def counted_calls(folder: Path) -> Iterator[Calls]:
    """Count what all threads of this process ask of the entries below `folder` during the block."""
    calls = Calls(str(folder))
    wrapped = {name: _by_path(calls, name, getattr(os, name)) for name in _BY_PATH}
    wrapped |= {name: _by_descriptor(calls, name, getattr(os, name)) for name in _BY_DESCRIPTOR}
    with patch.multiple(os, **wrapped), heard_opens(calls.note_open):
        yield calls


def _by_path(calls: Calls, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **more: Any) -> Any:
        # The last one: of a link or a rename that is the name that comes to be. A folder may come as a descriptor.
        named = [_path_of(argument) if isinstance(argument, int) else argument for argument in arguments]
        paths = [argument for argument in named if calls.has(argument)]
        if paths:
            calls.others.append((name, os.fsdecode(paths[-1])))
        return call(*arguments, **more)

    return counted


def _by_descriptor(calls: Calls, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(fd: int, *arguments: Any) -> Any:
        path = _path_of(fd)
        result = call(fd, *arguments)
        if calls.has(path):
            calls.others.append((name, path))
            if name in ("read", "pread"):
                calls.nbytes_read.append(len(result))
        return result

    return counted


def _path_of(fd: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""
