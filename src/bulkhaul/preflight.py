"""What a worker makes sure of once a bucket before it claims anything: it is there, may be written, and can be trusted.

A fault of credentials or bucket would turn every job into `error`; found here it ends the worker with one line and no
job is touched. What the probe learned is kept in the joblist, so that the next worker asks nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bulkhaul import fsio
from bulkhaul.errors import AccessDenied, StorageError
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.messages import Mark, Message, Say, silent
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.probe import Features, check_access, probe

_LOG = logging.getLogger(__name__)

Connect = Callable[[S3Location], Connection]

_DENIALS = 3
"""So many prefixes of a bucket are tried before a denial counts as one of the whole bucket."""


@dataclass(slots=True)
class Preflight:
    """The buckets that this worker has found usable, and what their servers can do."""

    joblist: Joblist
    connect: Connect
    say: Say = silent
    features: dict[str, Features] = field(default_factory=dict)
    _known_good: dict[str, S3Location] = field(default_factory=dict)

    def check(self, locations: Iterable[S3Location]) -> None:
        """Make sure of each bucket in `locations`, trying a few of its prefixes before a denial is believed.

        Raises:
            S3Error: the bucket cannot be used by anyone with these credentials; nothing has been claimed.
        """
        denials: dict[str, list[AccessDenied]] = {}
        for location in locations:
            denied = denials.setdefault(location.bucket, [])
            if location.bucket in self.features or len(denied) >= _DENIALS:
                continue
            try:
                self._admit(location)
            except AccessDenied as error:
                denied.append(error)
        for bucket, denied in denials.items():
            if bucket not in self.features and denied:
                raise denied[0]

    def still_works_elsewhere(self, location: S3Location) -> bool:
        """After a denial at `location`: whether another prefix of the bucket still takes a probe.

        True makes the denial that job's own error; False means that all jobs would meet it.
        """
        good = self._known_good.get(location.bucket)
        if good is None or good == location:
            return False
        try:
            check_access(self.connect(good))
        except AccessDenied:
            return False
        return True

    def _admit(self, location: S3Location) -> None:
        connection = self.connect(location)
        cache = self.joblist.state_path("probe", f"{location.bucket}.json")
        found = _remembered(cache, connection)
        if found is None:
            found = probe(connection)
            _remember(cache, connection, found)
        elif not found.leftovers:
            # Where removal is refused each trial would leave an object behind: the first put has to find out there.
            check_access(connection)
        self.features[location.bucket] = found
        self._known_good[location.bucket] = location
        for note in found.notes():
            self.say(Message(Mark.WARNING, f"{location.bucket}: {note}"))


def _remembered(cache: Path, connection: Connection) -> Features | None:
    """What a probe of the same bucket at the same endpoint learned; None when there is none that can be read."""
    try:
        kept = json.loads(cache.read_bytes())
        return Features.from_dict(kept["features"]) if kept["endpoint"] == str(connection.endpoint) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(cache: Path, connection: Connection, features: Features) -> None:
    kept = {"endpoint": str(connection.endpoint), "features": features.as_dict()}
    try:
        with fsio.storage_errors(cache):
            cache.parent.mkdir(parents=True, exist_ok=True)
        fsio.replace_file(cache, json.dumps(kept, sort_keys=True).encode() + b"\n")
    except StorageError as error:
        _LOG.debug("probe result not kept: %s", error)
