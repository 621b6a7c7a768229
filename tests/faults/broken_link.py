"""Run a module on a file system whose link(2) takes a name that is there. Arguments: the module, then its own."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any


def link_over(source: Any, target: Any, **_more: Any) -> None:
    """`os.link` that replaces the target."""
    private = f"{os.fspath(source)}.again"
    _link(source, private)
    Path(private).replace(target)


_link = os.link

if __name__ == "__main__":
    os.link = link_over  # type: ignore[assignment]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
