"""The one place that starts other programs, from an argument list and never through a shell.

A program runs to its end within a time limit, or, one of our own modules, beside us until we close its input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

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


class RunningModule:
    """A module of this package in an interpreter of its own, which ends when its `input` is closed.

    Its one argument is the number of the file descriptor that is our `output`; `environment` comes on top of ours.
    What it writes to standard error comes by `errors`, which has to be read.

    Raises:
        ProgramFailed: it could not be started.
    """

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        # A pipe of its own, not standard output: what a library or a site's start-up file prints is no message.
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of our own
                # -P: a folder named like one of our modules in the working folder is none of them.
                [sys.executable, "-P", "-m", name, str(writing)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(writing,),
                env={**os.environ, **environment},
                process_group=0,  # Ctrl-C is for whoever started it
            )
        except OSError as error:
            os.close(reading)
            reason = error.strerror or str(error)
            raise ProgramFailed(sys.executable, reason, "check this node's limit of processes and memory") from error
        finally:
            os.close(writing)
        assert process.stdin is not None
        assert process.stderr is not None
        self.pid = process.pid
        self.input: IO[bytes] = process.stdin
        self.output: IO[bytes] = os.fdopen(reading, "rb")
        self.errors: IO[bytes] = process.stderr
        self._process = process

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self, timeout: float) -> None:
        """Wait until it has ended; kill it after `timeout` seconds. One that the kernel holds is left behind."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        if self._process.returncode is not None:
            self.output.close()
