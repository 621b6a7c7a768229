"""Writes that survive kill -9, a full disk and a second writer: atomic replace, and put-if-absent.

Every `OSError` that leaves this module is a `StorageError` with the path, the reason and the next step. Nothing here
knows what the files mean.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bulkhaul.errors import StorageError

_NEXT_STEPS = {
    errno.ENOSPC: "free space there, then run the same command again",
    errno.EDQUOT: "free quota there, then run the same command again",
    errno.EROFS: "choose a folder on a writable file system",
    errno.EACCES: "ask for the right to write there, or choose another folder",
    errno.EPERM: "ask for the right to write there, or choose another folder",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
}
# Whatever the umask, what we make is never writable for everybody: who writes a job file decides what is sent.
_FILE_MODE = 0o664
_FOLDER_MODE = 0o775
_STALE_TRIES = 3
_Read = TypeVar("_Read")
_ONE_READ = 1 << 16  # bytes; more than a job file or a record has
_DEFAULT_NEXT_STEP = "check the file system (`bulkhaul doctor` tries it), then run the same command again"


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn each `OSError` of the block into a `StorageError` about `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: str | Path, error: OSError) -> StorageError:
    """The `StorageError` about `path` that `error` becomes."""
    reason = error.strerror or str(error)
    return StorageError(path, reason, _NEXT_STEPS.get(error.errno or 0, _DEFAULT_NEXT_STEP))


def read_open(fd: int, *, most: int = 1 << 30) -> bytes:
    """What the regular file at `fd` holds from here on, at most `most` bytes.

    A small one costs a single call, since a scan of 10^5 jobs reads two files for each: less than was asked for is the
    end of a regular file.

    Raises:
        OSError: it cannot be read.
    """
    pieces = []
    while most > 0:
        asked = min(most, _ONE_READ)
        pieces.append(os.read(fd, asked))
        most -= len(pieces[-1])
        if len(pieces[-1]) < asked:
            break
    return b"".join(pieces)


def opened_anew(read: Callable[[], _Read]) -> _Read:
    """What `read` returns, which opens a file and reads it; called up to three times while the file is stale.

    Over NFS another machine's rename may remove a file between our open and our read; a new open finds the new one.

    Raises:
        OSError: `read` failed otherwise, or three times.
    """
    for _ in range(_STALE_TRIES - 1):
        try:
            return read()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return read()


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False when nothing is there.

    Not `Path.is_dir`: on a file system that fails it raises an `OSError`, or in later versions says False.

    Raises:
        StorageError: nobody can tell.
    """
    with storage_errors(path):
        try:
            return stat.S_ISDIR(path.stat().st_mode)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: a rename or link is lost with the node until this returns."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_shared(path: str | Path, flags: int) -> int:
    """Open a file that others may write to as well, new ones for owner and group at most; also as `open`'s `opener`.

    A link in its place is not followed: somebody else who may write here could lead us anywhere.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)


def make_folder(folder: Path, *, above: bool = True) -> None:
    """Make `folder`, and those `above` it that are missing, unless it is there; for owner and group at most.

    Raises:
        StorageError: it is not there.
    """
    missing = [folder]
    with storage_errors(folder):
        while missing:
            try:
                missing[-1].mkdir(_FOLDER_MODE, exist_ok=True)
            except FileNotFoundError:
                if not above or missing[-1].parent == missing[-1]:
                    raise
                missing.append(missing[-1].parent)
            else:
                missing.pop()


def _write_new(path: Path, data: bytes) -> None:
    with os.fdopen(open_shared(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _private_name(path: Path) -> Path:
    # Unique for ever and a dot file: a leftover of a killed writer is never taken for a job or a record.
    return path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.tmp")


def replace_file(path: Path, data: bytes) -> None:
    """Make `path` hold `data`, whole or not at all, and durably.

    An existing file keeps its mode, less the right of everybody to write; a new one gets 0664 less the umask.

    Raises:
        StorageError: the old content, if any, is whole; or, where only the last step failed, the new, not yet durably.
    """
    private = _private_name(path)
    with storage_errors(path):
        try:
            mode = path.stat().st_mode & 0o775
        except FileNotFoundError:
            mode = None
        try:
            _write_new(private, data)
            if mode is not None:
                private.chmod(mode)
            private.replace(path)
        except BaseException:
            private.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def create_file(path: Path, data: bytes, *, unique: bool = True) -> bool:
    """Put-if-absent: True when this call made `path`, False when it was there; never a half-written file.

    `data` must be unique to the caller (hold a random token): over NFS the answer to link(2) can be lost and the call
    repeated, so that our own link reports "exists"; what the file then holds decides. Where others may write the same
    bytes (`unique=False`) link's own answer is all there is, and a lost one counts as "it was there".

    Raises:
        StorageError: the file system failed; whether `path` exists is unknown, ask again.
    """
    private = _private_name(path)
    with storage_errors(path):
        try:
            _write_new(private, data)
            linked = _linked(private, path)
            won = path.read_bytes() == data if unique else linked
        finally:
            private.unlink(missing_ok=True)
        if won:
            sync_folder(path.parent)
    return won


def _linked(private: Path, path: Path) -> bool:
    try:
        os.link(private, path)
    except FileExistsError:
        return False
    return True
