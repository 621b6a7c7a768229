"""The files of one dataset in S3's order, each entry with a fate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file to send: name below the dataset (with `/`), and what identifies its content's version."""

    name: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An entry that is not sent: `failed` when it should have been (unreadable), else skipped by policy."""

    name: str
    reason: str
    failed: bool


Entry = LocalFile | LeftOut


def read_path(dataset: Path, name: str) -> Path:
    """The path of the entry `name` of `dataset`."""
    return dataset / name
