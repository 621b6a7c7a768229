"""The files of one dataset in S3's order, each entry with a fate.

The walk sorts one folder at a time (a folder as its name plus `/`) and keeps only the rest of each folder on the
present path, as bytes: so the stream is in the order of the UTF-8 bytes of the full names, which is the order in which
S3 lists, and memory grows with the folders on the path, not with the tree. Nothing is opened and no link is followed.
An entry that is not sent is told, with the reason: what the plan never sees it could not report.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bulkhaul.errors import SourceError

SYMLINK = "symlink"
EMPTY_FOLDER = "empty folder"


class LocalFile(NamedTuple):
    """A regular file to send: name below the dataset (with `/`), and what identifies its content's version.

    `size` is in bytes. A name that is not UTF-8 holds surrogates, as `os.fsdecode` makes them.
    """

    name: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An entry that is not sent: `failed` when it should have been (unreadable), else skipped by policy.

    `folder`: the entry stands for a whole folder, empty or unreadable.
    """

    name: str
    reason: str
    failed: bool
    folder: bool = False


Entry = LocalFile | LeftOut

_SPECIAL = {
    stat.S_IFLNK: SYMLINK,
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "FIFO",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


def read_path(dataset: Path, name: str) -> str:
    """The path of the entry `name` of `dataset`; text, since a `Path` for each of a million files costs seconds."""
    return f"{dataset}/{name}"


def order_key(entry: Entry) -> bytes:
    """What `walk` sorts by: the bytes of the name, with a `/` after the name of a folder."""
    name = os.fsencode(entry.name)
    return name + b"/" if isinstance(entry, LeftOut) and entry.folder else name


def walk(dataset: Path) -> Iterator[Entry]:
    """Yield each file below `dataset`, and each entry that is not sent, in S3's byte order.

    Symlinks (to files, to folders, broken, in a loop), sockets, FIFOs, devices and empty folders are skipped; a folder
    or file that cannot be examined, or vanished on the way, is a failed entry. An empty dataset yields nothing.

    Raises:
        SourceError: `dataset` itself is missing, not a folder, or unreadable.
    """
    root = os.fsencode(dataset)
    try:
        top = _sorted_names(root)
    except OSError as error:
        raise SourceError(
            dataset, f"the dataset cannot be read: {error.strerror}", "check the path and its rights"
        ) from error
    # An explicit stack: a tree may be nested deeper than Python's recursion limit.
    stack = [(root + b"/", b"", top)]
    while stack:
        place, prefix, names = stack[-1]
        if not names:
            stack.pop()
            continue
        name = names.pop()
        if not name.endswith(b"/"):
            yield _examined(place + name, os.fsdecode(prefix + name))
            continue
        inner = _folder_names(place + name, os.fsdecode(prefix + name[:-1]))
        if isinstance(inner, LeftOut):
            yield inner
        else:
            stack.append((place + name, prefix + name, inner))


def _sorted_names(folder: bytes) -> list[bytes]:
    # Names only, last one first so that `pop` gives the next: a million entries are some 60 MB, as DirEntry 400.
    with os.scandir(folder) as entries:
        names = [entry.name + b"/" if _is_folder(entry) else entry.name for entry in entries]
    names.sort(reverse=True)
    return names


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # only where the file system gives no types; the lstat of `_examined` then tells the reason
        return False


def _folder_names(path: bytes, name: str) -> list[bytes] | LeftOut:
    try:
        names = _sorted_names(path)
    except OSError as error:
        return LeftOut(name, _failure(error), failed=True, folder=True)
    return names or LeftOut(name, EMPTY_FOLDER, failed=False, folder=True)


def _examined(path: bytes, name: str) -> Entry:
    try:
        found = os.lstat(path)
    except OSError as error:
        return LeftOut(name, _failure(error), failed=True)
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG:
        return LocalFile(name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    if kind == stat.S_IFDIR:  # it was none when the folder was listed
        return LeftOut(name, "changed while the folder was read", failed=True)
    return LeftOut(name, _SPECIAL.get(kind, "special file"), failed=False)


def _failure(error: OSError) -> str:
    if error.errno in _GONE:
        return "vanished while the folder was read"
    return f"unreadable: {error.strerror}"
