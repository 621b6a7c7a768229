"""Read jobs as they stand: the ledger first, then line 1, and the ledger again where the two do not fit.

Whatever happens after the look at the ledger takes the next number, so a claim made of a stale view fails. The other
way round a `todo` read before a claim and the `end` read after it look like a person's wish to have it sent again.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bulkhaul.errors import InvalidJobFile
from bulkhaul.fsio import opened_anew, read_open, storage_error, storage_errors
from bulkhaul.joblist.job import JobView, Owner, Standing, Version, standing_of, status_of
from bulkhaul.joblist.jobfile import JobFile, parse_jobfile
from bulkhaul.joblist.ledger import Record, newest_numbers, newest_record, state_of
from bulkhaul.joblist.paths import JoblistPaths, is_job_file, name_problem

# More than 200 lines of log with a long header and a person's notes.
_LONGEST_FILE = 4 << 20

READERS = 16
"""Jobs that a scan looks at at once on a slow file system."""
_TRIED = 64  # jobs that tell how slow it is
_SLOW = 0.001  # seconds a job: below, threads cost more than they gain
_BATCH = 256  # jobs asked for together: so much is read in vain when a scan is stopped

Dead = Callable[[Owner], bool]


_NO_FILE = frozenset({errno.EISDIR, errno.ELOOP, errno.ENXIO})


def job_names(paths: JoblistPaths) -> list[str]:
    """The names of all jobs, sorted.

    Raises:
        StorageError: the folder cannot be listed.
    """
    with storage_errors(paths.folder), os.scandir(paths.folder) as entries:
        return sorted(entry.name.removesuffix(".txt") for entry in entries if is_job_file(entry.name))


def has_jobs(paths: JoblistPaths) -> bool:
    """Whether there is any job; of a long joblist no more is listed than that needs.

    Raises:
        StorageError: the folder cannot be listed.
    """
    with storage_errors(paths.folder), os.scandir(paths.folder) as entries:
        return any(is_job_file(entry.name) for entry in entries)


def job_versions(paths: JoblistPaths) -> dict[str, Version]:
    """The version of each job file, (0, 0) of one that cannot be examined. Nothing is opened.

    Raises:
        StorageError: the folder cannot be listed.
    """
    versions = {}
    with storage_errors(paths.folder), os.scandir(paths.folder) as entries:
        for entry in entries:
            if is_job_file(entry.name):
                try:
                    versions[entry.name[:-4]] = _version(entry.stat())
                except OSError:  # nothing is known of it, so the index is never right about it
                    versions[entry.name[:-4]] = (0, 0)
    return versions


def read_jobfile(paths: JoblistPaths, name: str) -> JobFile:
    """The parts of one job file.

    Raises:
        InvalidJobFile: it cannot be read as one, or is gone.
        StorageError: the file system failed.
    """
    return _read_version(paths, name)[0]


def _read_version(paths: JoblistPaths, name: str) -> tuple[JobFile, Version]:
    place = f"{paths.folder}/{name}.txt"
    try:
        data, version = opened_anew(lambda: _read_regular(place))
    except OSError as error:
        # One job that cannot be read must not hide all others; a failing disk must.
        if isinstance(error, FileNotFoundError):
            raise InvalidJobFile(f"{name}.txt", "there is no such job file", "extract the joblist again") from error
        if isinstance(error, PermissionError):
            step = "ask its owner for that right"
            raise InvalidJobFile(f"{name}.txt", "there is no right to read it", step) from error
        if error.errno in _NO_FILE:
            raise InvalidJobFile(f"{name}.txt", "it is no file", "remove it") from error
        raise storage_error(place, error) from error
    if len(data) > _LONGEST_FILE:
        raise InvalidJobFile(f"{name}.txt", "the job file is larger than 4 MiB", "cut its log")
    return parse_jobfile(data, name=name), version


def _read_regular(place: str) -> tuple[bytes, Version]:
    # A FIFO would block for ever, and a worker that waits in `open` hears no signal.
    fd = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return read_open(fd, most=_LONGEST_FILE + 1), _version(found)
    finally:
        os.close(fd)


def _version(found: os.stat_result) -> Version:
    return found.st_ino, found.st_ctime_ns


def view_job(paths: JoblistPaths, name: str, *, dead: Dead, hint: int = 0, whole_log: bool = False) -> JobView:
    """One job as it stands; `dead` judges the owner of an open claim, `hint` is a known generation.

    Raises:
        StorageError: the file system failed.
    """
    if problem := name_problem(name):
        return _invalid(name, None, f"{name}.txt: {problem}; rename it")
    record = newest_record(paths.ledger, name, hint=hint)
    while True:
        try:
            file, version = _read_version(paths, name)
        except InvalidJobFile as error:
            return _invalid(name, record, str(error))
        view = _view(name, file, version, record, dead=dead, whole_log=whole_log)
        if view.standing is not Standing.UNPROVEN:
            return view
        # A first claim between the two looks shows as `ongoing` without a record.
        before, record = record, newest_record(paths.ledger, name, hint=hint)
        if record == before:
            return view


def _invalid(name: str, record: Record | None, problem: str) -> JobView:
    return JobView(name, "", None, Standing.INVALID, None, None, None, record, problem=problem)


def _view(name: str, file: JobFile, version: Version, record: Record | None, *, dead: Dead, whole_log: bool) -> JobView:
    expired = record is not None and record.end is None and dead(record.owner)
    standing, ought = standing_of(file.word, state_of(record, expired=expired))
    problem = ""
    if standing is Standing.INVALID:
        problem = f"{name}.txt: line 1 is {file.word[:40]!r}, no status; write `todo` there to have it sent"
    return JobView(
        name=name,
        word=file.word,
        status=status_of(file.word, standing, ought),
        standing=standing,
        ought=ought,
        source=Path(file.source),
        target=file.target,
        record=record,
        log=file.log if whole_log else file.log[-1:],
        problem=problem,
        version=version,
    )


def view_all(paths: JoblistPaths, *, dead: Dead, names: Iterable[str] | None = None) -> Iterator[JobView]:
    """All jobs as they stand, sorted by name, or those in `names` in their order.

    One listing of the ledger serves all jobs; a few find their newest records sooner without.
    """
    hints = newest_numbers(paths.ledger) if names is None else {}
    turn = threading.Lock()

    def judged(owner: Owner) -> bool:
        with turn:
            return dead(owner)

    def look(name: str) -> JobView:
        return view_job(paths, name, dead=judged, hint=hints.get(name, 0))

    for view in _in_order(look, job_names(paths) if names is None else list(names)):
        if view.standing is not Standing.INVALID or os.path.lexists(paths.job(view.name)):
            yield view  # else it was removed since the listing


def _in_order(look: Callable[[str], JobView], names: list[str]) -> Iterator[JobView]:
    """A look at each job in turn; at many at once where each takes long, as a parallel file system answers many."""
    spent = []
    for name in names[:_TRIED]:
        began = time.monotonic()
        view = look(name)
        spent.append(time.monotonic() - began)
        yield view
    left = names[_TRIED:]
    # The median: a busy machine makes a few looks long, a slow file system each.
    if not left or sorted(spent)[_TRIED // 2] < _SLOW:
        yield from map(look, left)
        return
    with ThreadPoolExecutor(READERS, thread_name_prefix="bulkhaul-scan") as pool:
        for start in range(0, len(left), _BATCH):
            yield from pool.map(look, left[start : start + _BATCH])
