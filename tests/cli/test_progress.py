"""Progress on standard error: bars where a person looks, few lines in a log, nothing when quiet."""

from __future__ import annotations

import io

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


def test_a_log_gets_one_line_a_stage_and_minute() -> None:
    assert [line.split(":")[0] for line in shown(io.StringIO()).splitlines()] == ["plan", "upload", "plan"]


def test_a_terminal_gets_a_bar_for_each_stage_that_ends_full() -> None:
    last = [bar.rsplit("\r", 1)[-1] for bar in shown(Terminal()).rstrip("\n").split("\n")]
    assert [bar.split(":")[0] for bar in last] == ["plan", "upload", "plan"]
    assert all("100%" in bar and "10.0M/10.0M" in bar for bar in last)


def test_quiet_shows_nothing() -> None:
    assert shown(Terminal(), quiet=True) == ""
