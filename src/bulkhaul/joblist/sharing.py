"""Joblists that a group shares: the folder's own mode says so, and every process that works there follows it.

A joblist is shared when its folder is setgid and writable for its group. New folders below are so too, all of their
files belong to the group, and no worker needs an option for it.
"""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bulkhaul.errors import StorageError, UsageError
from bulkhaul.fsio import storage_errors
from bulkhaul.joblist.paths import STATE_FOLDER

_SHARED = stat.S_ISGID | stat.S_IRWXG


def share_folder(folder: Path, group: str) -> None:
    """Have `group` share the joblist in `folder`, which holds nothing yet or is shared with it already.

    Raises:
        UsageError: no such group, or files of an unshared joblist are there.
        StorageError: this user may not give the folder to the group.
    """
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise UsageError(f"group {group!r}", "there is no such group", "`id -Gn` lists yours") from error
    with storage_errors(folder):
        if _is_shared(folder.stat(), gid):
            return
        if any(folder.iterdir()):
            reason = f"it holds files that are not shared with the group {group!r}"
            step = f"chgrp -R {group} DIR; chmod -R g+rwX DIR; find DIR -type d -exec chmod g+s {{}} +"
            raise UsageError(folder, reason, step)
        os.chown(folder, -1, gid)
        folder.chmod(folder.stat().st_mode & 0o775 | _SHARED)
        if not _is_shared(folder.stat(), gid):  # the kernel drops the bit in silence for who is not of the group
            raise StorageError(folder, f"it cannot be shared with {group!r}", "ask to become a member of that group")


def follow_sharing(folder: Path) -> None:
    """Set this process's umask as the joblist in `folder` asks: its group may write where it is shared, others never.

    Programs that this process starts inherit it, `sbatch` and so its tasks too.

    Raises:
        StorageError: the folder cannot be examined.
    """
    with storage_errors(folder):
        shared = _is_shared(folder.stat())
    umask = os.umask(0o077)
    os.umask((umask & ~stat.S_IRWXG if shared else umask) | stat.S_IWOTH)


def open_to_all(folder: Path) -> Iterator[Path]:
    """The folders of the joblist that everybody on this machine may write to.

    Raises:
        StorageError: one cannot be listed.
    """
    state = folder / STATE_FOLDER
    with storage_errors(folder):
        below = [state, *sorted(state.iterdir())] if state.is_dir() else []
        for place in (folder, *below):
            mode = place.lstat().st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_IWOTH:
                yield place


def half_shared(folder: Path) -> bool:
    """Whether the group may write to `folder` and yet does not get what this user makes in it.

    Where a user's own group is the folder's (umask 002) nothing is amiss.
    """
    with storage_errors(folder):
        found = folder.stat()
    mode = found.st_mode
    return bool(mode & stat.S_IWGRP) and not mode & stat.S_ISGID and found.st_gid != os.getegid()


def _is_shared(found: os.stat_result, gid: int | None = None) -> bool:
    return found.st_mode & _SHARED == _SHARED and gid in (None, found.st_gid)
