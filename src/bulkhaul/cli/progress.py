"""Progress of the dataset in work, on standard error: tqdm bars on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from bulkhaul.progress import SECONDS_BETWEEN_LINES, ProgressLines
from bulkhaul.stopping import utc_now

if TYPE_CHECKING:
    from bulkhaul.transfer.dataset import Progress


@contextmanager
def shown_progress(
    *, quiet: bool, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[Progress], None]]:
    """A function that shows each `Progress` in the way that suits `stream` (standard error), or not at all."""
    stream = stream or sys.stderr
    if quiet:
        yield lambda _progress: None
    elif stream.isatty():
        bars = _Bars(stream)
        try:
            yield bars.show
        finally:
            bars.close()
    else:
        yield _line_writer(stream, clock)


def _line_writer(stream: TextIO, clock: Callable[[], float]) -> Callable[[Progress], None]:
    lines = ProgressLines(clock=clock)
    written = clock()

    def show(progress: Progress) -> None:
        nonlocal written
        line = lines.line(progress)
        # Each stage has a line in the job's own log; here two hundred small plates would fill pages.
        if line is not None and clock() - written >= SECONDS_BETWEEN_LINES:
            written = clock()
            stream.write(f"[{utc_now():%Y-%m-%dT%H:%M:%SZ}] {line}\n")
            stream.flush()

    return show


class _Bars:
    """One bar of bytes for each stage of each dataset; the finished ones stay on the screen."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: Any = None
        self._stage = ""

    def show(self, progress: Progress) -> None:
        """Bring the bar up to `progress`; another stage ends the bar and begins the next."""
        from tqdm import tqdm

        if progress.stage != self._stage:
            self.close()
            self._stage = progress.stage
            self._bar = tqdm(desc=progress.stage, unit="B", unit_scale=True, file=self._stream)
        self._bar.total = progress.bytes_total
        self._bar.set_postfix_str(f"{progress.files_done} files", refresh=False)
        self._bar.update(progress.bytes_done - self._bar.n)

    def close(self) -> None:
        """End the present bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""
