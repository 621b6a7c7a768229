"""Find the datasets of a results folder by its layout, level by level; what is left out is told, never dropped.

Folders may be symlinks here (plates are often linked from other volumes); a dataset's path is the real one. A folder
that cannot be read stops the search: a joblist that silently lacks some plates is worse than none.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bulkhaul.errors import SourceError
from bulkhaul.sources.layouts import Dataset, Layout, fill, segment_pattern

_NAMED = 5

T = TypeVar("T")
_Place = tuple[Path, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A place in the results folder that gave no dataset, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """The datasets below `results` (absolute, symlinks resolved), sorted by the values of their fields."""

    results: Path
    layout: Layout
    datasets: tuple[Dataset, ...]
    skipped: tuple[Skipped, ...]


def check_results_folder(results: Path) -> Path:
    """The real path of `results`, which is a readable folder that is not empty.

    Raises:
        SourceError: it is missing, not a folder, unreadable or empty.
    """
    if not _entries(results):
        raise SourceError(results, "the folder is empty", "check the path")
    return results.resolve()


def find_datasets(layout: Layout, results: Path) -> Discovery:
    """All datasets of `results` by `layout`; no two share a name or a key.

    Raises:
        SourceError: the folder is missing, empty or not a folder, one below it is unreadable, the layout matches
            nothing, or two datasets clash.
    """
    root = check_results_folder(results)
    skipped: list[Skipped] = []
    places: list[_Place] = [(root, {})]
    for segment in layout.path.split("/"):
        matches = [match for place in places for match in _matches(segment, place, skipped)]
        if not matches:
            raise _nothing_found(layout, root, segment, places[0][0])
        places = matches
    whole = [place for place in places if _is_whole(layout, place, skipped)]
    if not whole:
        reason = f"no dataset of the layout {layout.name!r} is whole: {skipped[-1].path} {skipped[-1].reason}"
        raise SourceError(root, reason, "check the results")
    datasets = [_dataset(layout, place) for place in _once_each(whole, skipped)]
    datasets.sort(key=lambda dataset: tuple(dataset.fields.values()))
    _refuse_clashes(datasets)
    return Discovery(root, layout, tuple(datasets), tuple(skipped))


def nested_keys(keyed: Iterable[tuple[str, T]]) -> Iterator[tuple[T, T]]:
    """Pairs whose keys are equal or lie one within the other (`a/b` in `a`), the outermost first."""
    # With the `/`, all that lies within a key follows it directly.
    ordered = sorted(((f"{key.rstrip('/')}/", value) for key, value in keyed), key=lambda item: item[0])
    outer, first = ordered[0] if ordered else ("", None)
    for inner, second in ordered[1:]:
        if first is not None and inner.startswith(outer):
            yield first, second
        else:
            outer, first = inner, second


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Name and whether it is a folder (or a link to one) of each entry, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, _leads_to_folder(entry)) for entry in entries)
    except OSError as error:
        raise _unreadable(folder, error) from error


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _unreadable(path: Path, error: OSError) -> SourceError:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return SourceError(path, "no right to read it", "ask for that right, then run this again")
    return SourceError(path, error.strerror or str(error), "check the path")


def _matches(segment: str, place: _Place, skipped: list[Skipped]) -> Iterator[_Place]:
    folder, fields = place
    entries = _entries(folder)
    if "{" not in segment:
        if (segment, True) in entries:
            yield folder / segment, fields
        else:
            skipped.append(Skipped(folder, f"holds no folder {segment!r}"))
        return
    pattern = segment_pattern(segment)
    others = []
    for name, is_folder in entries:
        match = pattern.fullmatch(name) if is_folder else None
        if match is None:
            others.append(name)
        else:
            yield folder / name, fields | match.groupdict()
    if others:
        skipped.append(Skipped(folder, f"holds entries that are no {segment!r} folder: {_some(others)}"))
    elif not entries:
        skipped.append(Skipped(folder, "is empty"))


def _nothing_found(layout: Layout, root: Path, segment: str, place: Path) -> SourceError:
    names = [name for name, _ in _entries(place)]
    held = f"holds {_some(names)}" if names else "is empty"
    reason = f"the layout {layout.name!r} ({layout.path}) matches nothing: at {segment!r}, {place} {held}"
    return SourceError(root, reason, "check the results folder and the layout")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(name) for name in names[:_NAMED]) + more


def _is_whole(layout: Layout, place: _Place, skipped: list[Skipped]) -> bool:
    path, fields = place
    lack = _lack(path, fill(layout.requires, fields) if layout.requires else None)
    if lack is not None:
        skipped.append(Skipped(path, lack))
        return False
    if not os.access(path, os.R_OK | os.X_OK):
        raise _unreadable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return True


def _lack(path: Path, required: str | None) -> str | None:
    """Why a dataset is not whole. A transfer follows no link: one in place of the Zarr would be left out for good."""
    entry = path if required is None else path / required
    try:
        found = entry.stat() if required is None else entry.lstat()
    except FileNotFoundError:
        return f"lacks {required!r}" if required else "vanished"
    except OSError as error:
        raise _unreadable(entry, error) from error
    return f"has a symlink in place of {required!r}, and links are not sent" if stat.S_ISLNK(found.st_mode) else None


def _once_each(places: list[_Place], skipped: list[Skipped]) -> Iterator[_Place]:
    # `latest -> run7` beside `run7` would send one folder twice; the real folder wins over a link to it.
    seen: dict[Path, Path] = {}
    for path, fields in sorted(places, key=lambda place: place[0] != place[0].resolve()):
        first = seen.setdefault(path.resolve(), path)
        if first is path:
            yield path, fields
        else:
            skipped.append(Skipped(path, f"is the same folder as {first}"))


def _dataset(layout: Layout, place: _Place) -> Dataset:
    path, fields = place
    return Dataset(fill(layout.job_name, fields), path.resolve(), fill(layout.key, fields), fields)


def _refuse_clashes(datasets: list[Dataset]) -> None:
    # Keys of one layout have equally many segments, so none lies within another.
    by_name: dict[str, Dataset] = {}
    by_key: dict[str, Dataset] = {}
    for dataset in datasets:
        first = by_name.setdefault(dataset.name, dataset)
        if first is not dataset:
            raise _clash(first, dataset, f"share the job name {dataset.name!r}")
        first = by_key.setdefault(dataset.key, dataset)
        if first is not dataset:
            raise _clash(first, dataset, f"share the key {dataset.key!r}")


def _clash(first: Dataset, second: Dataset, reason: str) -> SourceError:
    next_step = "choose a layout that tells them apart, or move one of them away"
    return SourceError(f"{first.path} and {second.path}", f"they {reason}", next_step)
