"""What reaches the terminal: filtering by verbosity, JSON alone on stdout, one line an error, printable names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from bulkhaul.cli.render import end, plain, reported_errors, speaker
from bulkhaul.errors import AccessDenied, BulkhaulError, StorageError, UsageError
from bulkhaul.messages import Mark, Message


@pytest.mark.parametrize("verbosity", range(4))
def test_verbosity_decides_what_is_said(verbosity: int, capsys: pytest.CaptureFixture[str]) -> None:
    say = speaker(verbosity, as_json=False)
    for detail in range(4):
        say(Message(Mark.INFO, f"detail {detail}", detail=detail))
    assert capsys.readouterr().out.splitlines() == [f"💡 detail {detail}" for detail in range(verbosity + 1)]


def test_with_json_messages_leave_stdout_to_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    speaker(1, as_json=True)(Message(Mark.INFO, "on the way"))
    with pytest.raises(typer.Exit) as ended:
        end({"path": Path("/a"), "at": datetime(2026, 1, 2, tzinfo=UTC)}, exit_code=3, as_json=True)
    out, err = capsys.readouterr()
    assert ended.value.exit_code == 3
    assert json.loads(out) == {"path": "/a", "at": "2026-01-02 00:00:00+00:00"}
    assert err == "💡 on the way\n"


@pytest.mark.parametrize(
    "error",
    [UsageError("a", "b", "c"), StorageError("a", "b", "c"), AccessDenied("a", "b", "c"), BulkhaulError("a", "b", "c")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_one_line_and_its_classes_exit_code(
    error: BulkhaulError, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, reported_errors(as_json=False):
        raise error
    assert ended.value.exit_code == error.exit_code
    assert capsys.readouterr() == ("", "❌ a: b; c\n")


def test_with_json_an_error_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), reported_errors(as_json=True):
        raise UsageError("option", "wrong", "correct it")
    document = json.loads(capsys.readouterr().out)
    assert document == {"error": {"thing": "option", "reason": "wrong", "next_step": "correct it"}, "exit_code": 2}


def test_an_interrupt_ends_with_130() -> None:
    with pytest.raises(typer.Exit) as ended, reported_errors(as_json=False):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130


def test_a_name_cannot_steer_the_terminal_or_break_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    speaker(1, as_json=False)(Message(Mark.INFO, "a\x1b[2Jb\r\x9b"))
    with pytest.raises(typer.Exit), reported_errors(as_json=False):
        raise UsageError("odd\nname\x07", "b", "c")
    assert capsys.readouterr() == ("💡 a\\x1b[2Jb\\x0d\\x9b\n", "❌ odd\\nname\\x07: b; c\n")


@dataclass
class Inner:
    path: Path
    names: tuple[str, ...]


@dataclass
class Spoken:
    def as_dict(self) -> dict[str, object]:
        return {"inner": Inner(Path("/x"), ("a", "b"))}


def test_reports_become_plain_json_values() -> None:
    assert plain([Spoken(), {Path("/k"): {1.5, None} - {None}}]) == [
        {"inner": {"path": "/x", "names": ["a", "b"]}},
        {"/k": [1.5]},
    ]
