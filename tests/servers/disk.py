"""A small file system of a test's own, to be full or read-only: a tmpfs, which only root may mount."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from servers.required import missing

BALLAST = "ballast"
"""The name of what fills a disk."""


@contextmanager
def small_file_system(folder: Path, *, options: str) -> Iterator[Path]:
    """A file system at `folder` with mount's `options` (`size=512k`, `nr_inodes=45`, `ro`); gone at the end.

    Where none can be mounted the test ends, as `missing` says.
    """
    folder.mkdir(exist_ok=True)
    made = _mount("-t", "tmpfs", "-o", options, "none", str(folder))
    if made.returncode != 0:
        missing("mount", made.stderr.partition("\n")[0])
    try:
        yield folder
    finally:
        # Lazy: a process that a failed test has left there must not hide the failure.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, *, options: str) -> None:
    """Give the file system at `folder` other limits."""
    made = _mount("-o", f"remount,{options}", str(folder))
    assert made.returncode == 0, made.stderr


def fill_blocks(disk: Path) -> None:
    """Leave no room for another byte."""
    with suppress(OSError), (disk / BALLAST).open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def fill_inodes(disk: Path) -> None:
    """Leave no room for another file."""
    (disk / BALLAST).mkdir()
    with suppress(OSError):
        for number in range(100_000):
            (disk / BALLAST / str(number)).touch()


def make_room(disk: Path) -> None:
    """Take away what filled the disk."""
    ballast = disk / BALLAST
    if ballast.is_dir():
        shutil.rmtree(ballast)
    else:
        ballast.unlink()


def _mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
