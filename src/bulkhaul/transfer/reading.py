"""Read a file whose version is known: what was read is what the file was before and after, or it is an error.

A dataset is named by its real path here: a file that does not stand there, since a folder above it was swapped for a
link, lies outside of the dataset and is not read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bulkhaul.errors import SourceChanged, SourceError
from bulkhaul.sources.tree import LocalFile, check_place, read_path

_SLICE = 1 << 20
_REASONS = {
    errno.ENOENT: "vanished while it was read",
    errno.ENOTDIR: "vanished while it was read",
    errno.EACCES: "no right to read",
    errno.EPERM: "no right to read",
    errno.ELOOP: "became a symlink",
    errno.EXDEV: "lies behind a symlink, or was moved",
    errno.EISDIR: "is no regular file any more",
}
_STORAGE_FAULTS = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN})


class SourceStorageFailed(SourceError):
    """The source's file system, not this file, failed: many of them in a row end the transfer."""


# Neither follow a link nor wait at a FIFO that took the file's place since the walk.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def source_errors(path: str | Path) -> Iterator[None]:
    """Turn each `OSError` of the block into a `SourceError` about `path`."""
    try:
        yield
    except OSError as error:
        raise _source_error(path, error) from error


def _source_error(path: str | Path, error: OSError) -> SourceError:
    kind = SourceStorageFailed if error.errno in _STORAGE_FAULTS else SourceError
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return kind(path, reason, "check the file and its rights, then run again")


@contextmanager
def opened(dataset: Path, name: str) -> Iterator[tuple[int, LocalFile]]:
    """A file descriptor and the version that was opened; the block fails if the file is another one at its end.

    Raises:
        SourceChanged: it was written to while the block read it.
        SourceError: it cannot be opened, is no regular file, or reading failed.
    """
    path = read_path(dataset, name)
    with source_errors(path):
        fd = os.open(path, _FLAGS)
        try:
            check_place(fd, path)
            before = version(os.fstat(fd), name)
            yield fd, before
            if version(os.fstat(fd), name) != before:
                raise SourceChanged(path, "changed while it was read", "run again when nothing writes to it")
        finally:
            os.close(fd)


def read_as_planned(dataset: Path, file: LocalFile) -> bytes | None:
    """All bytes of a small file that is still the version that the plan saw; None when it is another one by now.

    Five system calls: each lets go of the interpreter, and its way back costs more than the call.

    Raises:
        SourceError: it cannot be opened, or reading failed.
    """
    path = read_path(dataset, file.name)
    try:
        fd = os.open(path, _FLAGS)
        try:
            check_place(fd, path)
            data = os.read(fd, file.size + 1)  # one more: a file that grew is seen
            after = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise _source_error(path, error) from error
    planned = (file.size, file.size, file.mtime_ns, file.ctime_ns, file.inode)
    return data if planned == (len(data), after.st_size, after.st_mtime_ns, after.st_ctime_ns, after.st_ino) else None


def version(found: os.stat_result, name: str) -> LocalFile:
    """What identifies the content's version.

    Raises:
        SourceError: it is no regular file.
    """
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(name, "is no regular file any more", "run again when nothing writes to the dataset")
    return LocalFile(name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def read_whole(fd: int, file: LocalFile) -> bytes:
    """All bytes of a small file.

    Raises:
        SourceChanged: there are fewer or more than its size says.
    """
    data = os.read(fd, file.size + 1)
    while len(data) <= file.size and (more := os.read(fd, file.size + 1 - len(data))):
        data += more
    if len(data) != file.size:
        raise SourceChanged(file.name, "changed while it was read", "run again when nothing writes to it")
    return data


def slices(fd: int, *, gate: Callable[[], None]) -> Iterator[bytes]:
    """The bytes of a large file in order, a MiB at a time."""
    offset = 0
    while data := os.pread(fd, _SLICE, offset):
        gate()
        yield data
        offset += len(data)
