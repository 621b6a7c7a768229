"""A plate with a folder of odd entries beside its Zarr."""

from __future__ import annotations

import os
import re
from pathlib import Path

from e2e.accounts import plate
from e2e.lab import Lab, write_plate

ODD = "odd"  # the folder of the odd entries: beside the Zarr, so that it does not withhold the Zarr's metadata


def begin(lab: Lab) -> Path:
    """The plate with a small Zarr, its job extracted; the folder for odd entries."""
    write_plate(plate(lab), chunks=3, seed=1)
    lab.extract()
    folder = plate(lab) / ODD
    folder.mkdir()
    return folder


def put(folder: Path, name: str, text: str | None = None) -> str:
    """A small file; its name below the plate."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.fsencode(text or f"content of {name}"))
    return f"{ODD}/{name}"


def assert_clear(line: str, *, count: int, words: list[str]) -> None:
    """The line in the log says how many, names the first with reasons, and ends with what to do."""
    assert f"error: {count} file(s) failed: " in line
    assert re.search(r"mend them, then `bulkhaul retry`", line), line
    for word in words:
        assert word in line
