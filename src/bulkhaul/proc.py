"""The one place that starts other programs: an argument list, a time limit, text back; never a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bulkhaul.errors import BulkhaulError


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program that ran to its end left: exit code and both outputs as text."""

    code: int
    stdout: str
    stderr: str


class ProgramFailed(BulkhaulError):
    """A program could not be started or did not end in time."""


def run(arguments: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None) -> Completed:
    """Run `arguments` to their end, at most `timeout` seconds, with no standard input.

    Raises:
        ProgramFailed: not found, not executable, or over its time. A non-zero exit code is a result, not an error.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a list, no shell; the callers' own programs
            list(arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            env=None if env is None else dict(env),
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramFailed(arguments[0], f"no answer within {timeout:g} s", "try it by hand") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ProgramFailed(arguments[0], reason, "check that it is installed and on PATH") from error
    return Completed(code=done.returncode, stdout=done.stdout, stderr=done.stderr)
