"""Counts of a joblist by status; the totals add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from bulkhaul.joblist.job import JobView, Standing, Status
from bulkhaul.joblist.joblist import Joblist


@dataclass(frozen=True, slots=True)
class Summary:
    """Jobs by status: `total` is the sum of the six counts; the lists hold (name, why) of what needs a person."""

    total: int
    todo: int
    ongoing: int
    success: int
    error: int
    unproven: int
    invalid: int
    error_jobs: tuple[tuple[str, str], ...]
    unproven_jobs: tuple[tuple[str, str], ...]
    invalid_jobs: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, object]:
        """The summary as JSON values."""
        return asdict(self)


def summarise(views: Iterable[JobView], *, settled: Mapping[Status, int] = MappingProxyType({})) -> Summary:
    """Count `views`, and with them the jobs that were `settled` without a look; pure."""
    counts = {status: settled.get(status, 0) for status in Status}
    needs: dict[str, list[tuple[str, str]]] = {"error": [], "unproven": [], "invalid": []}
    for view in views:
        if view.status is not None:
            counts[view.status] += 1
        if view.status is Status.ERROR:
            needs["error"].append((view.name, _reason(view)))
        elif view.status is None and view.standing is Standing.INVALID:
            needs["invalid"].append((view.name, view.problem))
        elif view.status is None:
            needs["unproven"].append((view.name, f"line 1 is `{view.word}`, and the ledger does not prove it"))
    return Summary(
        total=sum(counts.values()) + len(needs["unproven"]) + len(needs["invalid"]),
        todo=counts[Status.TODO],
        ongoing=counts[Status.ONGOING],
        success=counts[Status.SUCCESS],
        error=counts[Status.ERROR],
        unproven=len(needs["unproven"]),
        invalid=len(needs["invalid"]),
        error_jobs=tuple(needs["error"]),
        unproven_jobs=tuple(needs["unproven"]),
        invalid_jobs=tuple(needs["invalid"]),
    )


def _reason(view: JobView) -> str:
    if view.record is not None and view.record.text and view.standing is Standing.ENDED:
        return view.record.text
    return view.log[-1] if view.log else "set by hand"


def summarise_joblist(folder: Path, *, dry_run: bool = False) -> Summary:
    """Count the jobs of the joblist in `folder`; only what has changed since the last scan is read.

    First lines that lag are brought to what the ledger says; a dry run writes nothing.

    Raises:
        UsageError: the folder is missing.
        StorageError: it cannot be read.
    """
    settled, views = Joblist(folder).changed(repair=not dry_run)
    return summarise(views, settled=settled)
