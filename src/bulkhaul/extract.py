"""Step 1: one job file for each dataset of a results folder.

All is found and compared first, then written: a clash is an error before anything is there. A job that exists is never
touched, so the step can be run again at any time: after a full disk, or when the results have grown.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from bulkhaul.errors import SourceError, UsageError
from bulkhaul.fsio import is_folder, make_folder, storage_errors
from bulkhaul.joblist.job import JobView
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.paths import name_problem
from bulkhaul.joblist.sharing import follow_sharing, share_folder
from bulkhaul.messages import Mark, Message, Say, silent
from bulkhaul.s3.location import S3Location, key_problem
from bulkhaul.sources.discovery import Discovery, Skipped, check_results_folder, find_datasets, nested_keys
from bulkhaul.sources.layouts import Dataset, Layout

_NAMED = 20


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """What an extraction made (or would make, in a dry run), by job names; `skipped` are places in the results."""

    joblist: Path
    created: tuple[str, ...]
    kept: tuple[str, ...]
    vanished: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class _Planned:
    """One job of this extraction."""

    name: str
    source: Path
    target: str | None


@dataclass(frozen=True, slots=True)
class _Extraction:
    """What was found and what is there already, compared: nothing of it clashes."""

    folder: Path
    discovery: Discovery
    planned: tuple[_Planned, ...]
    existing: Mapping[str, JobView]

    @property
    def missing(self) -> list[_Planned]:
        """The jobs that the joblist lacks."""
        return [job for job in self.planned if job.name not in self.existing]

    @property
    def vanished(self) -> tuple[str, ...]:
        """Jobs for datasets that these results no longer have; jobs of other results folders are none of ours."""
        found = {job.name for job in self.planned}
        root = self.discovery.results
        return tuple(
            name
            for name, job in sorted(self.existing.items())
            if name not in found and job.source is not None and job.source.is_relative_to(root)
        )


def extract_joblist(
    results: Path,
    *,
    output: Path | None,
    joblists: Path,
    layout: Layout,
    target: str | None,
    group: str | None = None,
    dry_run: bool = False,
    verbosity: int = 1,
    say: Say = silent,
) -> ExtractReport:
    """Write a job file for each dataset of `results`, below `target`, into `output`; existing jobs are not touched.

    Without `output` the joblist is `joblists/<source>`, or `joblists/<results folder>` when there is no single source.
    Without `target` the job files name none and the later steps take the settings' one. With `group` that group shares
    a new joblist; this process's umask follows the folder's mode in any case. `verbosity` is only told. A dry run
    writes nothing.

    Raises:
        SourceError: the results cannot be read, match nothing, or clash with each other or with the joblist.
        UsageError: a target that is none, or an output that cannot be a joblist.
        StorageError: the output cannot be written; the jobs written so far are whole, and a rerun adds the others.
    """
    location = S3Location.parse(target) if target else None
    root = check_results_folder(results)
    say(Message(Mark.INFO, f"Valid input path: {root}"))
    discovery = find_datasets(layout, root)
    folder = _output_folder(output or joblists / _default_name(discovery), root)
    work = _compare(discovery, folder, location)
    _prepare_output(folder, group=group, dry_run=dry_run, say=say)
    say(Message(Mark.INFO, f"Dry run: {'enabled' if dry_run else 'disabled'}"))
    say(Message(Mark.INFO, f"Verbosity level: {verbosity}"))
    for message in (*_found(discovery), *_warnings(work)):
        say(message)
    created = _announce_jobs(work, say) if dry_run else _write_jobs(work, say)
    new = frozenset(created)
    kept = tuple(job.name for job in work.planned if job.name not in new)
    if kept:
        say(Message(Mark.INFO, f"Kept {len(kept)} job(s) that were there."))
    say(Message(Mark.DONE, "Processing complete."))
    return ExtractReport(folder, created, kept, work.vanished, discovery.skipped, dry_run)


def _default_name(discovery: Discovery) -> str:
    sources = {dataset.fields.get("source", "") for dataset in discovery.datasets}
    return (sources.pop() if len(sources) == 1 else "") or discovery.results.name


def _output_folder(output: Path, root: Path) -> Path:
    folder = Path(os.path.realpath(output))
    if folder.is_relative_to(root):
        raise UsageError(folder, "the joblist would lie inside the results folder", "choose a folder outside it")
    with storage_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(folder, "the output path is not a folder", "choose another output path")
    return folder


def _compare(discovery: Discovery, folder: Path, location: S3Location | None) -> _Extraction:
    planned = tuple(_planned(dataset, location) for dataset in discovery.datasets)
    existing: dict[str, JobView] = {}
    if is_folder(folder):
        joblist = Joblist(folder)
        existing = {name: joblist.read(name) for name in joblist.names()}
    _refuse_other_sources(planned, existing)
    _refuse_clashing_targets(planned, existing)
    return _Extraction(folder, discovery, planned, existing)


def _planned(dataset: Dataset, location: S3Location | None) -> _Planned:
    problem = name_problem(dataset.name)
    if problem is not None:
        raise SourceError(dataset.path, f"its job name {dataset.name!r} cannot be used: {problem}", "rename the folder")
    key = location.key(dataset.key) if location else dataset.key
    problem = key_problem(key)
    if problem is not None:
        raise SourceError(dataset.path, f"its key {key!r} cannot be used: {problem}", "rename the folder")
    return _Planned(dataset.name, dataset.path, str(S3Location(location.bucket, key)) if location else None)


def _refuse_other_sources(planned: Iterable[_Planned], existing: Mapping[str, JobView]) -> None:
    for job in planned:
        there = existing.get(job.name)
        if there is not None and there.source is not None and there.source != job.source:
            raise SourceError(
                f"{job.source} and {there.source}",
                f"they share the job name {job.name!r}, and the joblist has it for the second",
                "choose another output path, or a layout that tells them apart",
            )


def _refuse_clashing_targets(planned: Iterable[_Planned], existing: Mapping[str, JobView]) -> None:
    keyed: list[tuple[str, tuple[object, bool]]] = [(job.target, (job.source, True)) for job in planned if job.target]
    names = {job.name for job in planned}
    for name, there in existing.items():
        if there.target and name not in names:
            keyed.append((there.target, (there.source, False)))
    for (outer, outer_is_new), (inner, inner_is_new) in nested_keys(keyed):
        if outer_is_new or inner_is_new:
            reason = "their keys are the same or lie one within the other, and the joblist has a job for one of them"
            raise SourceError(f"{outer} and {inner}", reason, "choose another target, or move one of them away")


def _prepare_output(folder: Path, *, group: str | None, dry_run: bool, say: Say) -> None:
    if not is_folder(folder):
        say(Message(Mark.WARNING, f"The output path '{folder}' does not exist."))
        say(Message(Mark.INFO, f"{'Would create' if dry_run else 'Creating'} output path: {folder}"))
        if dry_run:
            return
        make_folder(folder)
    with storage_errors(folder):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    say(Message(Mark.INFO, f"Valid output path: {folder}"))
    if not dry_run:
        if group is not None:
            share_folder(folder, group)
        follow_sharing(folder)


def _found(discovery: Discovery) -> Iterator[Message]:
    levels = discovery.layout.levels
    rows = sorted({tuple(dataset.fields[level] for level in levels) for dataset in discovery.datasets})
    return (Message(Mark.INFO, text) for text in _level_lines(levels, rows, depth=0))


def _level_lines(levels: tuple[str, ...], rows: list[tuple[str, ...]], *, depth: int) -> Iterator[str]:
    """How many there are on this level, then the same within each of them."""
    if depth == len(levels):
        return
    values = sorted({row[depth] for row in rows})
    above = [f"{_label(level)} '{value}'" for level, value in zip(levels[:depth], rows[0], strict=False)]
    count = f"Found {len(values)} {_plural(_label(levels[depth]))}"
    if depth == 0:
        more = [f"  ... and {len(values) - _NAMED} more"] if len(values) > _NAMED else []
        yield "\n".join([f"{count}:", *(f"  - {value}" for value in values[:_NAMED]), *more])
    else:
        yield f"{count} for {' in '.join(above)}."
    for _, group in groupby(rows, key=lambda row: row[depth]):
        yield from _level_lines(levels, list(group), depth=depth + 1)


def _label(level: str) -> str:
    return level.rstrip("0123456789").rstrip("_") or level


def _plural(word: str) -> str:
    return f"{word}(es)" if word.endswith(("ch", "sh", "s", "x", "z")) else f"{word}(s)"


def _warnings(work: _Extraction) -> Iterator[Message]:
    """What a person has to know before the jobs are written."""
    skipped = work.discovery.skipped
    texts = [f"Left out: {place.path} {place.reason}." for place in skipped[:_NAMED]]
    if len(skipped) > _NAMED:
        texts.append(f"Left out: {len(skipped) - _NAMED} more place(s).")
    other = [job.name for job in work.planned if job.name in work.existing and _differs(job, work.existing[job.name])]
    if other:
        texts.append(f"{len(other)} job(s) that were there keep another target, first '{other[0]}.txt'.")
    if outside := [job for job in work.planned if not job.source.is_relative_to(work.discovery.results)]:
        texts.append(f"{len(outside)} dataset(s) lie outside, behind symlinks, first {outside[0].source}")
    for name in work.vanished:
        texts.append(f"The dataset of the job '{name}.txt' has vanished: {work.existing[name].source}")
    return (Message(Mark.WARNING, text) for text in texts)


def _differs(job: _Planned, there: JobView) -> bool:
    return bool(there.target) and bool(job.target) and there.target != job.target


def _announce_jobs(work: _Extraction, say: Say) -> tuple[str, ...]:
    say(Message(Mark.INFO, "Would create joblist in output directory."))
    say(Message(Mark.INFO, f"Would create {len(work.missing)} job(s)."))
    return tuple(job.name for job in work.missing)


def _write_jobs(work: _Extraction, say: Say) -> tuple[str, ...]:
    say(Message(Mark.INFO, "Creating joblist in output directory."))
    joblist = Joblist(work.folder)
    created = []
    for job in work.missing:
        if joblist.add(job.name, source=job.source, target=job.target):
            created.append(job.name)
            say(Message(Mark.INFO, f"Created job: {job.name}.txt", detail=2))
    say(Message(Mark.INFO, f"Created {len(created)} job(s)."))
    if any(job.target is None for job in work.missing):
        # Not said at the usual verbosity: the users' own command names no target, and its transcript is fixed.
        say(Message(Mark.WARNING, "No target is set; add `target` to bulkhaul.toml before the transfer.", detail=2))
    return tuple(created)
