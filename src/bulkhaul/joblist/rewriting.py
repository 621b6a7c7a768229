"""Every change of a job file: under the job's lock where it can be had, against the newest record, whole or not at all.

Line 1 is a projection of the ledger. What cannot be read as a job file, or has a word on line 1 that is no status, is
somebody's unfinished edit: it is never overwritten. A worker that was stopped between its look at the ledger and its
write sees afterwards that it came late, and shows what the newer record says: an old `todo` looks like a person's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from bulkhaul.errors import ClaimLost, InvalidJobFile
from bulkhaul.fsio import replace_file
from bulkhaul.joblist.job import WORDS, JobView, Status
from bulkhaul.joblist.jobfile import JobFile, log_line, render_jobfile
from bulkhaul.joblist.ledger import End, Record, newest_record
from bulkhaul.joblist.locks import Lock
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.views import Dead, read_jobfile, view_job

LOCK_TIMEOUT = 5.0
_SHOWN = {None: Status.ONGOING, End.SUCCESS: Status.SUCCESS, End.ERROR: Status.ERROR, End.RELEASED: Status.TODO}
_log = logging.getLogger(__name__)


def claim_lost(record: Record) -> ClaimLost:
    """The error for an owner whose `record` was superseded."""
    return ClaimLost(
        record.job,
        f"generation {record.generation} is not the newest any more",
        "nothing to do: another worker has the job",
    )


def shown(record: Record) -> Status:
    """What line 1 shows while `record` is the newest and nobody has typed anything."""
    return _SHOWN[record.end]


def write_as_owner(paths: JoblistPaths, lock: Lock, record: Record, *, text: str, note_typed: bool = True) -> None:
    """Show on line 1 what `record` says, and append `text` to the log.

    A status that a person typed while the job was owned is noted (`note_typed`) and overwritten.

    Raises:
        ClaimLost: `record` is not the last word on its job any more; line 1 is not what it says.
        StorageError: the old file is whole.
    """
    with lock(paths.lock(record.job), LOCK_TIMEOUT):
        project(paths, record, text=text, note_typed=note_typed)


def project(paths: JoblistPaths, record: Record, *, text: str, note_typed: bool) -> None:
    """`write_as_owner` for a caller that holds the job's lock."""
    newest = newest_record(paths.ledger, record.job, hint=record.generation)
    if newest is None or newest.nonce != record.nonce:
        raise claim_lost(record)
    status = shown(record)

    def change(file: JobFile) -> JobFile | None:
        if note_typed and file.word not in (Status.ONGOING, status):
            note = f"line 1 was set to `{file.word}` while the job was owned: ignored, type it again after this claim"
            file = file.with_log(log_line(note))
        return replace(file, word=str(status)).with_log(log_line(text))

    if _rewrite(paths, record.job, change) and not _still_true(paths, record):
        raise claim_lost(record)


def _still_true(paths: JoblistPaths, record: Record) -> bool:
    """True when line 1, which was just made to show `record`, tells the truth; else it now shows a newer record."""
    true = True
    while (newest := newest_record(paths.ledger, record.job, hint=record.generation)) and newest.nonce != record.nonce:
        true = False
        old, new = shown(record), shown(newest)
        text = f"line 1 was `{old}`, written too late; the ledger says {new} since generation={newest.generation}"

        def change(file: JobFile, old: Status = old, new: Status = new, text: str = text) -> JobFile | None:
            return replace(file, word=str(new)).with_log(log_line(text)) if file.word == old != new else None

        if not _rewrite(paths, record.job, change):
            break
        record = newest
    return true


def repair(paths: JoblistPaths, lock: Lock, name: str, *, dead: Dead) -> None:
    """Bring line 1 of one job to what the ledger says, if it still lags under the lock.

    Raises:
        StorageError: the old file is whole.
    """
    with lock(paths.lock(name), LOCK_TIMEOUT):
        view = view_job(paths, name, dead=dead)
        ought = view.ought
        if ought is None or view.record is None:
            return
        text = f"line 1 was `{view.word}`; the ledger says {ought} since generation={view.record.generation}"
        if _rewrite(paths, name, lambda file: replace(file, word=str(ought)).with_log(log_line(text))):
            _still_true(paths, view.record)


def set_todo(paths: JoblistPaths, lock: Lock, view: JobView, *, reason: str) -> bool:
    """Write `todo` on line 1 if the job still stands as in `view`; False when it does not.

    Raises:
        StorageError: the old file is whole.
    """
    with lock(paths.lock(view.name), LOCK_TIMEOUT):
        newest = newest_record(paths.ledger, view.name)
        if (newest and newest.nonce) != (view.record and view.record.nonce):
            return False

        def change(file: JobFile) -> JobFile | None:
            if file.word != view.word:
                return None
            return replace(file, word=str(Status.TODO)).with_log(log_line(reason))

        return _rewrite(paths, view.name, change, also=frozenset({view.word}))


def _rewrite(
    paths: JoblistPaths,
    name: str,
    change: Callable[[JobFile], JobFile | None],
    *,
    also: frozenset[str] = frozenset(),
) -> bool:
    try:
        old = read_jobfile(paths, name)
    except InvalidJobFile as error:
        _log.debug("not rewritten: %s", error)
        return False
    if old.word not in WORDS | also:
        return False
    new = change(old)
    if new is None:
        return False
    replace_file(paths.job(name), render_jobfile(new))
    return True
