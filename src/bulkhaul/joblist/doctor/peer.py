"""The other process of `bulkhaul doctor`: `python -m bulkhaul.joblist.doctor.peer TRIAL FOLDER`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bulkhaul.fsio import create_file, replace_file
from bulkhaul.joblist.locks import Held, file_lock

ROUNDS = 40
PATIENCE = 20.0


def race_by_link(folder: Path, me: str) -> None:
    """Try to make each of the numbered names first by link(2); leave the won numbers in `won.<me>`."""
    _leave(folder, me, [number for number in range(ROUNDS) if create_file(folder / f"link.{number}", me.encode())])


def race_by_exclusive_create(folder: Path, me: str) -> None:
    """The same by O_EXCL."""
    won = []
    for number in range(ROUNDS):
        try:
            os.close(os.open(folder / f"exclusive.{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        won.append(number)
    _leave(folder, me, won)


def replace_often(folder: Path, _me: str) -> None:
    """Replace one file by rename until `done` appears."""
    for number in range(100_000):
        replace_file(folder / "replaced", str(number).encode() * 1000)
        if (folder / "done").exists():
            return


def hold_lock(folder: Path, _me: str) -> None:
    """Hold the lock, say so in `holds`, and let go when `done` appears."""
    with file_lock(folder / "lock", 0) as held:
        replace_file(folder / "holds", str(held).encode())
        if held is Held.YES:
            wait_for(folder / "done")


def wait_for(path: Path) -> bool:
    """Wait until `path` exists, False after 20 s."""
    end = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def meet(folder: Path, me: str, other: str) -> bool:
    """Wait until the process named `other` is here too."""
    replace_file(folder / f"here.{me}", b"")
    return wait_for(folder / f"here.{other}")


def _leave(folder: Path, me: str, won: list[int]) -> None:
    replace_file(folder / f"won.{me}", " ".join(map(str, won)).encode())


TRIALS: dict[str, Callable[[Path, str], None]] = {
    "link": race_by_link,
    "exclusive": race_by_exclusive_create,
    "rename": replace_often,
    "flock": hold_lock,
}

if __name__ == "__main__":
    trial, place = sys.argv[1], Path(sys.argv[2])
    meet(place, "peer", "doctor")
    TRIALS[trial](place, "peer")
