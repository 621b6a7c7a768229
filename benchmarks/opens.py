"""The opens that Python code makes, heard where it makes them: `open` and `os.open`."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

_open, _os_open = io.open, os.open


@contextmanager
def heard_opens(hear: Callable[[Any, int], None]) -> Iterator[None]:
    """Call `hear(path, flags)` before each open by path during the block, in the thread that opens.

    An audit hook would do it too, but stays for the life of the process, and up to CPython 3.11 it makes threads fail:
    the hook runs in the midst of `sys.settrace`, which refuses a second thread until it is through, and coverage calls
    that at the start of each thread.
    """

    def by_python(file: Any, mode: str = "r", *arguments: Any, opener: Any = None, **more: Any) -> Any:
        if opener is None and not isinstance(file, int):  # an opener calls `os.open` itself
            hear(file, os.O_CREAT if set(mode) & set("wxa") else 0)
        return _open(file, mode, *arguments, opener=opener, **more)

    def by_os(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        hear(path, flags)
        return _os_open(path, flags, *arguments, **more)

    with patch("builtins.open", by_python), patch("io.open", by_python), patch("os.open", by_os):
        yield
