"""Everything that reaches the terminal: messages, results, errors with their exit codes. The only place that prints.

Results go to standard output, errors and logs to standard error. With `--json` standard output holds one JSON document
and nothing else; the messages move to standard error.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn

import typer

from bulkhaul.errors import BulkhaulError, Interrupted, StorageError
from bulkhaul.messages import Mark, Message, Say

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_LEVELS = {0: logging.ERROR, 1: logging.WARNING, 2: logging.INFO, 3: logging.DEBUG}


def prepare_streams() -> None:
    """Make every name printable (what the encoding lacks is an escape, never a crash) and every exit code ours."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    atexit.register(_drop_what_cannot_be_written)


def _drop_what_cannot_be_written() -> None:
    # Python's own last flush of a log on a full disk would fail, and end a worker with 120 whatever became of its jobs.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def speaker(verbosity: int, *, as_json: bool) -> Say:
    """A `Say` that prints what `verbosity` allows, and sets the log's level alike. The one place that filters."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Only our own logger: botocore's debug lines hold signatures and tokens.
    logging.getLogger("bulkhaul").setLevel(_LEVELS[verbosity])

    def say(message: Message) -> None:
        if message.detail <= verbosity:
            # A log on a full disk, or a pager that was left, must not keep a worker from giving its job back.
            with suppress(OSError):
                typer.echo(_printable(str(message)), err=as_json)

    return say


def say_start(say: Say, *, dry_run: bool, verbosity: int) -> None:
    """The two lines with which each step states its mode."""
    say(Message(Mark.INFO, f"Dry run: {'enabled' if dry_run else 'disabled'}"))
    say(Message(Mark.INFO, f"Verbosity level: {verbosity}"))


def print_json(value: object) -> None:
    """Print `value` (mappings, sequences, dataclasses, paths, times) as one JSON document.

    Raises:
        StorageError: it could not be written, as to a file on a full disk.
    """
    try:
        typer.echo(json.dumps(plain(value), indent=2))
    except BrokenPipeError:
        raise  # whoever read it has seen enough
    except OSError as error:
        step = "free space there, or write to another file, then run the same command again"
        raise StorageError("standard output", error.strerror or str(error), step) from error


def plain(value: object) -> Any:
    """`value` in JSON's own types; whatever JSON lacks becomes its text."""
    if hasattr(value, "as_dict"):
        return plain(value.as_dict())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def end(report: object, *, exit_code: int, as_json: bool) -> NoReturn:
    """End the command with `exit_code`; with `--json` print the report first."""
    if as_json:
        print_json(report)
    raise typer.Exit(exit_code)


@contextmanager
def reported_errors(*, as_json: bool) -> Iterator[None]:
    """Print a `BulkhaulError` as one line, as JSON too if asked for, and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt as error:
        with suppress(OSError):
            typer.echo(f"{Mark.FAILED} stopped: by Ctrl-C; run the same command again", err=True)
        raise typer.Exit(Interrupted.exit_code) from error
    except BulkhaulError as error:
        with suppress(OSError, StorageError):
            typer.echo(_printable(f"{Mark.FAILED} {error}").replace("\n", "\\n"), err=True)
            if as_json:
                parts = {"thing": error.thing, "reason": error.reason, "next_step": error.next_step}
                print_json({"error": parts, "exit_code": error.exit_code})
        raise typer.Exit(error.exit_code) from error


def _printable(text: str) -> str:
    # A file name may hold escape sequences that would steer the reader's terminal.
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
