"""A checkout in miniature for the array scripts, and a joblist whose name is hard to quote."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


RECORDER = Path(__file__).with_name("recorder.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the project's own array scripts, where a recorder stands in for the steps and writes `run-*`."""
    folder = tmp_path / "check out's"
    (folder / "scripts").mkdir(parents=True)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    shutil.copytree(ROOT / "slurm", folder / "slurm")
    for step in ("04_transfer_plates.py", "05_verify_transfer.py"):
        shutil.copy(RECORDER, folder / "scripts" / step)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return folder


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    """An empty joblist whose name a shell and SLURM could misread."""
    folder = tmp_path / "job's %j list"
    folder.mkdir()
    return folder
