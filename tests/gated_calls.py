"""A gate before each call of a piece of code to the file system, one level below it: at `os` and at each open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from opens import heard_opens

_BY_PATH = ("chmod", "link", "lstat", "mkdir", "rename", "replace", "scandir", "stat", "unlink")
_BY_DESCRIPTOR = ("close", "fstat", "fsync", "pread", "pwrite", "read", "write")

Gate = Callable[[str, str], None]
"""Called with the name of the call and the path that it is about, of two the last; it may wait, or raise."""
_Ask = Callable[[str, Sequence[object]], None]


@contextmanager
def gated_calls(folder: Path, gate: Gate) -> Iterator[None]:
    """Call `gate` before each call about an entry below `folder`, in the thread that makes it, for the block."""
    root = str(folder)

    def ask(name: str, paths: Sequence[object]) -> None:
        texts = [os.fsdecode(path) for path in paths if isinstance(path, str | bytes | os.PathLike)]
        if below := [text for text in texts if text == root or text.startswith(f"{root}/")]:
            gate(name, below[-1])

    def opened(path: Any, flags: int) -> None:
        ask("create" if flags & os.O_CREAT else "open", [path])

    wrapped = {name: _by_path(name, ask) for name in _BY_PATH}
    wrapped |= {name: _by_descriptor(name, ask) for name in _BY_DESCRIPTOR}
    with patch.multiple(os, **wrapped), heard_opens(opened):
        yield


def _by_path(name: str, ask: _Ask) -> Callable[..., Any]:
    call = getattr(os, name)

    def gated(*arguments: Any, **more: Any) -> Any:
        ask(name, arguments)
        return call(*arguments, **more)

    return gated


def _by_descriptor(name: str, ask: _Ask) -> Callable[..., Any]:
    call = getattr(os, name)

    def gated(fd: int, *arguments: Any) -> Any:
        ask(name, [_path_of(fd)])
        return call(fd, *arguments)

    return gated


def _path_of(fd: int) -> str | None:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return None
