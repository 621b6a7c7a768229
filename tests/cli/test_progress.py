"""Progress on standard error: bars where a person looks, a line a minute in a log, nothing when quiet."""

from __future__ import annotations

import io
import itertools
import re

from bulkhaul.cli.progress import shown_progress
from bulkhaul.transfer.terms import Progress, Stage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(stage: Stage, done: int) -> Progress:
    return Progress(stage, done, 10, done * 1_000_000, 10_000_000, skipped=0, failed=0, last="a")


def shown(stream: io.StringIO, *, quiet: bool = False) -> str:
    with shown_progress(quiet=quiet, stream=stream) as show:
        for stage in ("plan", "upload", "plan"):
            for done in range(11):
                show(progress(stage, done))
    return stream.getvalue()


def test_a_log_gets_one_line_a_minute_with_its_time_whatever_the_stages() -> None:
    log, seconds = io.StringIO(), itertools.count(step=7)
    with shown_progress(quiet=False, stream=log, clock=lambda: next(seconds)) as show:
        for number in range(100):
            show(progress("upload" if number % 2 else "plan", number % 11))
    lines = log.getvalue().splitlines()
    asked = next(seconds)
    assert 0 < len(lines) <= asked / 60
    assert all(re.match(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\] (plan|upload)", line) for line in lines)


def test_a_plate_of_a_few_seconds_writes_no_line_into_a_log() -> None:
    assert shown(io.StringIO()) == ""


def test_a_terminal_gets_a_bar_for_each_stage_that_ends_full() -> None:
    last = [bar.rsplit("\r", 1)[-1] for bar in shown(Terminal()).rstrip("\n").split("\n")]
    assert [bar.split(":")[0] for bar in last] == ["plan", "upload", "plan"]
    assert all("100%" in bar and "10.0M/10.0M" in bar for bar in last)


def test_quiet_shows_nothing() -> None:
    assert shown(Terminal(), quiet=True) == ""
