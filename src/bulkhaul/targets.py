"""The targets of jobs: where each goes, and whether the buckets of many can be used before a step begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from bulkhaul.errors import UsageError
from bulkhaul.joblist.job import JobView
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.preflight import Connect, unusable_buckets
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.probe import check_listing

TargetOf = Callable[[Path], str]
"""The target of a source whose job file names none (the older scripts' three lines)."""

_SAMPLE = 256
"""So many jobs are looked at for their buckets: hardly any joblist has more than one, and 200 workers start."""


def location_of(target: str | None, source: Path, target_of: TargetOf) -> S3Location:
    """Where a job goes: its own target, else the one that the settings give its source.

    Raises:
        UsageError: no usable target.
    """
    return S3Location.parse(target or target_of(source))


def sample_locations(views: Iterable[JobView], target_of: TargetOf) -> list[S3Location]:
    """The targets of the first few hundred of `views`; no more of them are read.

    Raises:
        UsageError: none of them has a usable target, so it is the settings that lack it.
    """
    locations, unusable = [], []
    for view in islice(views, _SAMPLE):
        if view.source is None:
            continue
        try:
            locations.append(location_of(view.target, view.source, target_of))
        except UsageError as error:
            unusable.append(error)
    if unusable and not locations:
        raise unusable[0]
    return locations


def joblist_locations(folder: Path, target_of: TargetOf) -> Iterator[S3Location]:
    """The targets of all jobs of the joblist in `folder` that can be read, one by one.

    Raises:
        UsageError: a job has no usable target.
        StorageError: the joblist cannot be read.
    """
    for view in Joblist(folder).iterate():
        if view.source is not None:
            yield location_of(view.target, view.source, target_of)


def check_readable(locations: Iterable[S3Location], connect: Connect) -> None:
    """Make sure that a bucket of `locations` can be listed, for steps that write nothing.

    Raises:
        UsageError, S3Error: none can be; whatever the step asked, it would hear this for each job.
    """
    wanted = list(locations)
    refused = unusable_buckets(wanted, lambda location: check_listing(connect(location)))
    if refused and len(refused) == len({location.bucket for location in wanted}):
        raise refused[0]
