"""The program as it is typed, and a joblist to try it on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TARGET = "s3://gallery/archive"


def bulkhaul(*arguments: object, folder: Path, expect: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the program in `folder`; it must end with the exit code `expect`."""
    done = subprocess.run(
        [sys.executable, "-m", "bulkhaul", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def make_results(folder: Path, plates: dict[str, int]) -> Path:
    """A results folder in the jump layout, with `plates` per batch of source_8."""
    head = folder / "results/aggregated/broad/cellpainting-gallery/cpg0016-jump/source_8/workspace/segmentation"
    for batch, count in plates.items():
        for number in range(count):
            plate = f"A{number:07d}"
            (head / "cellpose/objects" / batch / plate / f"{plate}.zarr").mkdir(parents=True)
    return folder / "results"


def set_line_1(joblist: Path, number: int, word: str) -> None:
    """Type `word` over `todo` in the job of a plate of batch J1."""
    path = joblist / f"source_8__J1__A{number:07d}.txt"
    path.write_text(path.read_text().replace("todo", word, 1))
