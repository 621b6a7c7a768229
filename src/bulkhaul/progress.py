"""How far a dataset has come, as one line, and when such a line is due: at each stage and at most once a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkhaul.transfer.dataset import Progress

SECONDS_BETWEEN_LINES = 60.0
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (0, "B"))


class ProgressLines:
    """Turns a stream of `Progress` into the few lines that a log can take; one stream a dataset."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage = ""
        self._stage_began = 0.0
        self._stage_bytes = 0
        self._last_line = 0.0

    def line(self, progress: Progress) -> str | None:
        """The line for `progress`, None when none is due yet.

        The rate is that of the stage's own bytes, so what an earlier generation sent does not flatter it.
        """
        now = self._clock()
        if progress.stage != self._stage:
            self._stage, self._stage_began, self._stage_bytes = progress.stage, now, progress.bytes_done
        elif now - self._last_line < SECONDS_BETWEEN_LINES:
            return None
        self._last_line = now
        seconds = now - self._stage_began
        rate = (progress.bytes_done - self._stage_bytes) / seconds if seconds > 0 else 0.0
        return progress_line(progress) + (f", {_amount(round(rate), None)}/s" if rate else "")


def progress_line(progress: Progress) -> str:
    """`upload: 12000/48211 files, 18.4/71.0 GB, 300 skipped, 2 failed, last 'a/b': no right to read`.

    What is zero or not known is left out.
    """
    if not progress.files_done and not progress.bytes_done:
        return progress.stage
    words = [
        f"{progress.stage}: {_of(str(progress.files_done), progress.files_total)} files",
        _amount(progress.bytes_done, progress.bytes_total),
    ]
    words += [f"{progress.skipped} skipped"] if progress.skipped else []
    words += [f"{progress.failed} failed"] if progress.failed else []
    words += [f"last {progress.last_error}"] if progress.last_error else []
    return ", ".join(words)


def _amount(done: int, total: int | None) -> str:
    """Both numbers in the one unit that suits the larger."""
    size, unit = next((size, unit) for size, unit in _UNITS if max(done, total or 0) >= size)
    size, digits = (size, 1) if size else (1, 0)
    return f"{_of(f'{done / size:.{digits}f}', None if total is None else f'{total / size:.{digits}f}')} {unit}"


def _of(done: str, total: object) -> str:
    return done if total is None else f"{done}/{total}"
