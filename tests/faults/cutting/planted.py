"""Operations on file systems that break their promises: the judge has to see what becomes of a cut there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from faults.cutting.operations import Act, Operation, claim, log


def _over(target: str | Path, data: bytes) -> None:
    with Path(target).open("wb") as file:
        file.write(data)


def _moved_in_place(private: Path, target: str | Path) -> None:
    """What a file system does that has no atomic rename: the old file is emptied, then written."""
    _over(target, private.read_bytes())
    private.unlink()


def _linked_in_steps(private: str | Path, target: str | Path) -> None:
    """The same for a link: the name comes before its content."""
    _over(target, Path(private).read_bytes())


@contextmanager
def _log_in_place(folder: Path) -> Iterator[Act]:
    with log(folder) as act, patch.object(os, "replace", _moved_in_place):
        yield act


@contextmanager
def _claim_in_steps(folder: Path) -> Iterator[Act]:
    with claim(folder) as act, patch.object(os, "link", _linked_in_steps):
        yield act


PLANTED: dict[str, Operation] = {"log in place": _log_in_place, "claim in steps": _claim_in_steps}
