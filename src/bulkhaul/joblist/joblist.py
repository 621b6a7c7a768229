"""A joblist: a folder of job files that people read and edit, and beside them the ledger that workers trust."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bulkhaul.errors import InvalidJobFile, UsageError
from bulkhaul.fsio import create_file, is_folder, make_folder, storage_errors
from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.index import Scan, read_index, repaired, scan_views, settled
from bulkhaul.joblist.job import JobView, Owner, Standing, Status
from bulkhaul.joblist.jobfile import JobFile, render_jobfile, source_problem
from bulkhaul.joblist.liveness import process_gone
from bulkhaul.joblist.locks import Held, Lock, file_lock
from bulkhaul.joblist.mounts import Mount, least_lease, mount_of, present_mounts
from bulkhaul.joblist.paths import JoblistPaths, name_problem
from bulkhaul.joblist.rewriting import set_todo
from bulkhaul.joblist.session import Session
from bulkhaul.joblist.views import has_jobs, job_names, view_all, view_job

_MOST_CHANGED = 0.1
"""From this share of changed jobs on a new index is worth a whole scan."""


class Joblist:
    """A folder of job files with its ledger in `.bulkhaul`.

    `create=True` lets the folder be missing: the first `add` makes it. Times are in seconds.

    Raises:
        UsageError: the folder is missing, or the times do not fit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lease_ttl: float = 180.0,
        heartbeat: float = 20.0,
        create: bool = False,
        lock: Lock = file_lock,
        mounts: Callable[[], tuple[Mount, ...]] = present_mounts,
    ) -> None:
        self.folder = folder
        self._times = LeaseTimes(lease_ttl, heartbeat)
        self._paths = JoblistPaths(folder)
        self._lock = lock
        self._mounts = mounts
        if not create and not is_folder(folder):
            raise UsageError(folder, "there is no such joblist", "check the path, or extract the joblist first")

    def add(self, name: str, *, source: Path, target: str | None = None) -> bool:
        """Make the job file `name`.txt in status `todo`; False when it was there, untouched.

        Without `target` it is the plain three-line file, and the settings say where it goes.

        Raises:
            UsageError: the name or the source cannot stand in a joblist.
            StorageError: the job file was not made.
        """
        if problem := name_problem(name) or source_problem(str(source)):
            raise UsageError(f"{name}: {source}", problem, "rename it")
        if target is not None and "\n" in target:
            raise UsageError(target, "a target is one line", "correct the target")
        path = self.path(name)
        for folder in (self.folder, self._paths.state):
            make_folder(folder)
        with storage_errors(path):
            if path.exists() or path.is_symlink():
                return False
        headers = () if target is None else (f"target: {target}",)
        # Of two extractions at once that write the same bytes, one alone may count the job as its own.
        return create_file(path, render_jobfile(JobFile(str(Status.TODO), str(source), headers)), unique=False)

    def names(self) -> list[str]:
        """The names of all jobs, sorted; editors' litter is no job."""
        return job_names(self._paths)

    def is_empty(self) -> bool:
        """Whether there is no job."""
        return not has_jobs(self._paths)

    def path(self, name: str) -> Path:
        """The job file of `name`."""
        return self._paths.job(name)

    def manifest_path(self, name: str) -> Path:
        """The manifest beside the job file."""
        return self.folder / f"{name}.manifest.jsonl.gz"

    def work_path(self, name: str, generation: int) -> Path:
        """The partial manifest of one generation."""
        return self._paths.partial / f"{name}.{generation:06d}.jsonl"

    def work_paths(self, name: str) -> list[Path]:
        """The partial manifests that generations of `name` have left, oldest first."""
        folder = self._paths.partial
        with storage_errors(folder):
            found = [path for path in folder.iterdir() if _work_number(path, name) >= 0] if folder.is_dir() else []
        return sorted(found, key=lambda path: _work_number(path, name))

    def discard_work(self, name: str, *, generation: int) -> None:
        """Remove the partial manifests of `name` up to `generation`; those of a successor are its own."""
        for path in self.work_paths(name):
            if _work_number(path, name) <= generation:
                with storage_errors(path):
                    path.unlink(missing_ok=True)

    def state_path(self, *parts: str) -> Path:
        """A path inside `.bulkhaul`."""
        return self._paths.state.joinpath(*parts)

    def read(self, name: str) -> JobView:
        """One job as it stands, with its log; never raises for what the job file holds (see `problem`)."""
        return view_job(self._paths, name, dead=process_gone, whole_log=True)

    def open_names(self) -> list[str]:
        """The jobs that may still be claimed, sorted: from the index if a worker has made one, else all."""
        index = read_index(self._paths)
        if index is None:
            return self.names()
        return [row.name for row in index.rows if row.standing in (Standing.FREE, Standing.OWNED, Standing.EXPIRED)]

    def iterate(self) -> Iterator[JobView]:
        """All jobs as they stand, sorted by name, read one by one as asked for; changes nothing."""
        return view_all(self._paths, dead=process_gone)

    def scan(self) -> list[JobView]:
        """All jobs as they stand, sorted by name; repairs first lines that lag when no other scan is at work."""
        return list(self._scanned())

    def changed(self, *, repair: bool) -> tuple[Counter[Status], Iterator[JobView]]:
        """How many jobs are as the index says, by status, and all others as they stand, sorted by name.

        The fewer have changed since the last scan, the cheaper: one that is as it was costs a stat and is not opened.
        `repair` brings first lines that lag to what the ledger says, and makes a new index where the old one is of
        little use or missing; without it nothing is written.

        Raises:
            StorageError: the joblist cannot be read.
        """
        index = read_index(self._paths) if self._has_ledger() else None
        if index is None:
            return Counter(), self._scanned() if repair else self.iterate()
        counts, names = settled(self._paths, index)
        if repair and len(names) > _MOST_CHANGED * len(index.rows):
            return Counter(), self._scanned()
        views = view_all(self._paths, dead=process_gone, names=names)
        return counts, repaired(self._paths, self._lock, views, dead=process_gone) if repair else views

    def _scanned(self) -> Iterator[JobView]:
        if not self._has_ledger():
            yield from self.iterate()  # no worker was ever here: there is nothing to repair, and nothing to leave
            return
        with self._lock(self._paths.scan_lock, 0) as held:
            if held is Held.BUSY:
                yield from self.iterate()
                return
            scan = Scan(self._paths)
            for view in scan_views(self._paths, self._lock, dead=process_gone):
                scan.add(view)
                yield view
            scan.store()

    def _has_ledger(self) -> bool:
        return is_folder(self._paths.ledger)

    def retry(self, names: Sequence[str] | None = None, *, unproven: bool = False) -> list[str]:
        """Set jobs in `error` to `todo` (with `unproven` those too); the names that were set.

        Raises:
            UsageError: one of `names` is no job; nothing was changed.
            InvalidJobFile: one of `names` cannot be read; nothing was changed.
            StorageError: some may have been set.
        """
        known = self.names()
        if unknown := set(names or ()) - set(known):
            raise UsageError(", ".join(sorted(unknown)), "no such job in this joblist", f"look into {self.folder}")
        views = [self.read(name) for name in known if names is None or name in names]
        for view in views if names is not None else ():
            if view.standing is Standing.INVALID:
                thing, _, rest = view.problem.partition(": ")
                reason, _, next_step = rest.partition("; ")
                raise InvalidJobFile(thing, reason, next_step)
        wanted = (view for view in views if view.status is Status.ERROR or (unproven and _is_unproven(view)))
        return [view.name for view in wanted if self._set_todo(view, "todo: retry")]

    def set_todo(self, name: str, reason: str) -> None:
        """Set a job that nobody owns to `todo`, whatever it was; `reason` goes into its log.

        Raises:
            UsageError: somebody owns it, its job file is invalid, or it changed meanwhile.
            StorageError: the job file is as before.
        """
        view = self.read(name)
        if view.standing is Standing.FREE and view.word == Status.TODO:
            return
        if view.standing in (Standing.OWNED, Standing.INVALID) or not self._set_todo(view, f"todo: {reason}"):
            raise UsageError(self.path(name), view.problem or "somebody is at work on it", "look at the job, try again")

    def _set_todo(self, view: JobView, reason: str) -> bool:
        return set_todo(self._paths, self._lock, view, reason=reason)

    def session(
        self, owner: Owner, *, offset: float = 0.0, owner_gone: Callable[[Owner], bool] = process_gone
    ) -> Session:
        """A worker's session; `offset` in [0, 1) is where in the list it starts to look.

        `owner_gone` proves the death of an owner (False proves nothing); it is asked at each look at an open claim, and
        twice a second while a worker waits for the owners that it has looked at.

        Raises:
            UsageError: the lease is too short for the joblist's file system.
        """
        least = least_lease(mount_of(self.folder.resolve(), self._mounts()))
        if self._times.ttl < least:
            reason = f"{self._times.ttl:g} s, and {self.folder} lies on NFS, which shows a beat up to a minute late"
            raise UsageError("lease_ttl", reason, f"set at least {least:g}, or put the joblist on another file system")
        return Session(self._paths, owner, times=self._times, offset=offset, owner_gone=owner_gone, lock=self._lock)


def retry_jobs(folder: Path, names: Sequence[str] | None = None, *, unproven: bool = False) -> list[str]:
    """Set the jobs in `error` of the joblist in `folder` back to `todo`, all or those in `names`; see `Joblist.retry`.

    Raises:
        UsageError: the folder is missing, or one of `names` is no job of it.
        StorageError: some may have been set.
    """
    return Joblist(folder).retry(names, unproven=unproven)


def _is_unproven(view: JobView) -> bool:
    return view.status is None and view.standing is not Standing.INVALID


def _work_number(path: Path, name: str) -> int:
    """The generation of a partial manifest of `name`, -1 for any other file."""
    digits = path.name.removeprefix(f"{name}.").removesuffix(".jsonl")
    return int(digits) if path.name == f"{name}.{digits}.jsonl" and digits.isdecimal() else -1
