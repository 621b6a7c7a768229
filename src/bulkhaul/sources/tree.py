"""The files of one dataset in S3's order, each entry with a fate.

The walk sorts one folder at a time (a folder as its name plus `/`) and keeps only the rest of each folder on the
present path, as bytes: so the stream is in the order of the UTF-8 bytes of the full names, which is the order in which
S3 lists, and memory grows with the folders on the path, not with the tree. Where each call waits for the file system,
a few threads list and examine ahead, in bounds (`ahead`, `waits`). No file is opened and no link is followed, nor a
folder that was swapped for a link meanwhile: what lies outside of the dataset is not for sending.
An entry that is not sent is told, with the reason: what the plan never sees it could not report.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from bulkhaul.errors import SourceError
from bulkhaul.sources.ahead import Ahead, Folder
from bulkhaul.sources.waits import Waits, clock

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
# What os.fsdecode uses; itself it takes as long as a third of the lstat.
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_SOME = 256  # names read before it is asked whether there is room for more
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


def read_path(dataset: Path, name: str) -> str:
    """The path of the entry `name` of `dataset`; text, since a `Path` for each of a million files costs seconds."""
    return f"{dataset}/{name}"


def check_place(fd: int, path: str) -> None:
    """Make sure that what is open as `fd` stands at the real `path`, and no folder of it was swapped for a link.

    O_NOFOLLOW sees to the last name alone; the kernel's own path of what was opened is not to be deceived.

    Raises:
        OSError: ENOENT when it was removed meanwhile, EXDEV when it lies elsewhere.
    """
    if os.readlink(f"/proc/self/fd/{fd}") != path:  # noqa: PTH115 - a `Path` for each file costs as much again
        gone = os.fstat(fd).st_nlink == 0
        raise OSError(errno.ENOENT if gone else errno.EXDEV, "lies behind a symlink, or was moved")


def order_key(entry: Entry) -> bytes:
    """What `walk` sorts by: the bytes of the name, with a `/` after the name of a folder."""
    name = os.fsencode(entry.name)
    return name + b"/" if isinstance(entry, LeftOut) and entry.folder else name


def walk(dataset: Path) -> Iterator[Entry]:
    """Yield each file below `dataset`, and each entry that is not sent, in S3's byte order.

    Symlinks (to files, to folders, broken, in a loop), sockets, FIFOs, devices and empty folders are skipped; a folder
    or file that cannot be examined, or vanished on the way, is a failed entry. An empty dataset yields nothing. Where
    the file system lets its callers wait, a few threads look ahead; they end with the walk, or when it is closed.

    Raises:
        SourceError: `dataset` itself is missing, not a folder, or unreadable.
    """
    steps = _Steps()
    # An explicit stack: a tree may be nested deeper than Python's recursion limit.
    stack = [_top(dataset)]
    untimed = 0
    while stack:
        place, prefix, names = stack[-1].place, stack[-1].prefix, stack[-1].names
        while names:
            name = names.pop()
            if name.endswith(b"/"):
                inner = Folder[Entry](place + name, prefix + name, [])
                found = steps.list_folder(inner, _any_number)
                if isinstance(found, LeftOut):
                    yield found
                else:
                    inner.names = found
                    stack.append(inner)
                break
            if untimed:
                untimed -= 1
                yield _examined(place + name, prefix + name)
            else:
                untimed = steps.examining.gap
                yield from steps.examine(stack[-1], [name])
                if steps.slow():
                    break
        else:
            stack.pop()
        if steps.slow():
            ahead = Ahead(stack, list_folder=steps.list_folder, examine=steps.examine, enough=steps.quick)
            yield from ahead.entries()


def _top(dataset: Path) -> Folder[Entry]:
    root = os.fsencode(os.path.realpath(dataset))
    try:
        return Folder(root + b"/", b"", _sorted_names(root, _any_number))
    except OSError as error:
        raise SourceError(
            dataset, f"the dataset cannot be read: {error.strerror}", "check the path and its rights"
        ) from error


class _Steps:
    """The two steps of a walk, and how long the file system lets them wait."""

    def __init__(self) -> None:
        self.listing, self.examining = Waits(), Waits()

    def slow(self) -> bool:
        return self.listing.slow or self.examining.slow

    def quick(self) -> bool:
        return self.listing.quick and self.examining.quick

    def list_folder(self, folder: Folder[Entry], room: Callable[[int], None]) -> list[bytes] | LeftOut:
        begun = clock()
        found = _folder_names(folder.place, folder.prefix[:-1], room)
        self.listing.note(begun, calls=2 + (len(found) if isinstance(found, list) else 0))
        return found

    def examine(self, folder: Folder[Entry], names: list[bytes]) -> list[Entry]:
        begun = clock()
        entries = [_examined(folder.place + names[0], folder.prefix + names[0])]
        self.examining.note(begun)
        entries += [_examined(folder.place + name, folder.prefix + name) for name in names[1:]]
        return entries


def _any_number(_count: int) -> None:
    """There is room for a folder that the walk has reached, however large it is."""


def _sorted_names(folder: bytes, room: Callable[[int], None]) -> list[bytes]:
    # Names only, last one first so that `pop` gives the next: a million entries are some 60 MB, as DirEntry 400.
    names: list[bytes] = []
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        check_place(fd, os.fsdecode(folder.rstrip(b"/")))
        with os.scandir(fd) as entries:
            while some := [_name(entry) for entry in islice(entries, _SOME)]:
                names += some
                room(len(names))
    finally:
        os.close(fd)
    names.sort(reverse=True)
    return names


def _name(entry: os.DirEntry[str]) -> bytes:
    name = entry.name.encode(_ENCODING, _ERRORS)
    try:
        return name + b"/" if entry.is_dir(follow_symlinks=False) else name
    except OSError:  # only where the file system gives no types; the lstat of `_examined` then tells the reason
        return name


def _folder_names(path: bytes, name: bytes, room: Callable[[int], None]) -> list[bytes] | LeftOut:
    try:
        names = _sorted_names(path, room)
    except OSError as error:
        return LeftOut(os.fsdecode(name), _failure(error), failed=True, folder=True)
    return names or LeftOut(os.fsdecode(name), EMPTY_FOLDER, failed=False, folder=True)


def _examined(path: bytes, raw_name: bytes) -> Entry:
    name = raw_name.decode(_ENCODING, _ERRORS)
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
