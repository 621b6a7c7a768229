"""Calls of SLURM's own programs: one answer in one known form, or one error that says what to do.

What the user set to shape SLURM's output for the eye (`SQUEUE_USERS`) must not reach a program whose output is parsed,
and what the job around us was told about itself must not reach a job that we submit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from bulkhaul.errors import BulkhaulError
from bulkhaul.proc import Completed, ProgramFailed, run

# SLURM hands SLURM_* on to a submitted job and overwrites only what it sets itself: on 22.05 a job submitted inside
# a requeued one began with the outer SLURM_RESTART_COUNT, and one that is no array with the outer SLURM_ARRAY_*.
_NOT_HANDED_ON = ("SQUEUE_", "SACCT_", "SLURM_ARRAY_", "SLURM_RESTART_COUNT")


class SlurmError(BulkhaulError):
    """SLURM is not here, does not answer, or refuses; nothing has changed."""

    exit_code = 69


def client_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables for SLURM's programs: nobody's own format or filter, and nothing about the job around us."""
    return {name: value for name, value in environ.items() if not name.startswith(_NOT_HANDED_ON)}


def call(arguments: Sequence[str], *, timeout: float = 15.0) -> Completed:
    """Run one of SLURM's programs, at most `timeout` seconds; a non-zero exit code is the caller's to judge.

    Raises:
        SlurmError: not installed, or no answer in time (a busy controller lets its clients wait).
    """
    try:
        return run(arguments, timeout=timeout, env=client_environment())
    except ProgramFailed as error:
        raise SlurmError(arguments[0], error.reason, "work on a node with SLURM's programs, or try later") from error


def complaint(text: str) -> str:
    """The line of SLURM's complaint that a person needs: the last one, without the program's name."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("Try ")]
    return re.sub(r"^\w+: ((error|fatal): )?", "", lines[-1]).strip() if lines else "no reason given"
