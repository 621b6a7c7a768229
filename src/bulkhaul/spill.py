"""Sort more lines than memory holds: sorted runs on disk, merged as they are read."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

# 50,000 lines of about 250 bytes are some 15 MB of Python objects.
_RUN_LINES = 50_000


def sorted_lines(
    lines: Iterable[bytes],
    *,
    folder: Path,
    key: Callable[[bytes], bytes] | None = None,
    run_lines: int = _RUN_LINES,
) -> Iterator[bytes]:
    """Yield `lines` (without newlines inside) in the order of their `key`, else of their bytes; equal ones keep theirs.

    Memory holds one run; the rest lies in unnamed files below `folder`, gone with the process whatever ends it.
    """
    source = iter(lines)
    run = sorted(islice(source, run_lines), key=key)
    with ExitStack() as files:
        runs = []
        while len(run) == run_lines:
            file = files.enter_context(tempfile.TemporaryFile(dir=folder))
            file.writelines(line + b"\n" for line in run)
            file.seek(0)
            runs.append(line.rstrip(b"\n") for line in file)
            run.clear()  # or two would be in memory while the next one is gathered
            run = sorted(islice(source, run_lines), key=key)
        yield from heapq.merge(*runs, run, key=key) if runs else run
