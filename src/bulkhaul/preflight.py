"""What a worker makes sure of once a bucket before it claims anything: it is there, may be written, and can be trusted.

A fault of credentials or bucket would turn every job into `error`; found here it ends the worker with one line and no
job is touched. What the probe learned is kept in the joblist: the next worker only tries listing and writing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bulkhaul import fsio
from bulkhaul.errors import AccessDenied, BucketUnusable, BulkhaulError, S3Error, StorageError, UsageError
from bulkhaul.joblist.job import Owner
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.messages import Mark, Message, Say, silent
from bulkhaul.probing import abandoned, announced
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.features import Features
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.probe import check_access, probe, remove_probe
from bulkhaul.s3.retry import Gate, open_gate

_LOG = logging.getLogger(__name__)

Connect = Callable[[S3Location], Connection]

_DENIALS = 3
"""So many prefixes of a bucket are tried before a denial counts as one of the whole bucket."""


def unusable_buckets(locations: Iterable[S3Location], admit: Callable[[S3Location], None]) -> list[S3Error]:
    """Let `admit` try each bucket, by a few of its prefixes before a denial is believed; one error a refused bucket."""
    admitted: set[str] = set()
    refused: dict[str, list[S3Error]] = {}
    for location in locations:
        errors = refused.setdefault(location.bucket, [])
        if location.bucket in admitted or len(errors) >= _DENIALS:
            continue
        try:
            admit(location)
        except AccessDenied as error:
            errors.append(error)
        except BucketUnusable as error:
            errors.extend([error] * _DENIALS)
        else:
            admitted.add(location.bucket)
    return [errors[0] for bucket, errors in refused.items() if bucket not in admitted]


@dataclass(slots=True)
class Preflight:
    """The buckets that this worker has found usable, and what their servers can do."""

    joblist: Joblist
    connect: Connect
    owner: Owner
    say: Say = silent
    gate: Gate = open_gate
    features: dict[str, Features] = field(default_factory=dict)
    _known_good: dict[str, S3Location] = field(default_factory=dict)

    def check(self, locations: Iterable[S3Location]) -> None:
        """Make sure of each bucket in `locations`, trying a few of its prefixes before a denial is believed.

        Raises:
            S3Error: no bucket can be used with these credentials; nothing has been claimed. One of several that cannot
                be used is told and becomes the error of its own jobs.
        """
        unusable = unusable_buckets(locations, self.admit)
        if unusable and not self.features:
            raise unusable[0]
        for found in unusable:
            self.say(Message(Mark.FAILED, str(found), detail=0))

    def still_works_elsewhere(self, location: S3Location) -> bool:
        """After a denial at `location`: whether another prefix of the bucket still takes a probe.

        True makes the denial that job's own error; False means that all jobs would meet it.
        """
        good = self._known_good.get(location.bucket)
        if good is None or good == location:
            return False
        try:
            self._check_access(self.connect(good))
        except BulkhaulError as error:
            _LOG.debug("no more access at %s either: %s", good, error)
            return False
        return True

    def admit(self, location: S3Location) -> None:
        """Make sure of the location's bucket, once.

        Raises:
            S3Error: it cannot be used.
            Stopped: from the gate.
        """
        if location.bucket in self.features:
            return
        connection = self.connect(location)
        cache = self._folder / f"{location.bucket}.json"
        found = _remembered(cache, connection)
        if found is None:
            with announced(self._folder, location, self.owner) as begun:
                found = probe(connection, begun.token, gate=self.gate, on_doubt=begun.doubt)
            _remember(cache, connection, found)
        elif not found.leftovers:
            # Where removal is refused each trial would leave an object behind: the first put has to find out there.
            self._check_access(connection)
        self.features[location.bucket] = found
        self._known_good[location.bucket] = location
        for note in found.notes():
            self.say(Message(Mark.WARNING, f"{location.bucket}: {note}"))

    def remove_abandoned(self, owner_gone: Callable[[Owner], bool]) -> None:
        """Remove from S3 what the probes of dead workers left there; what cannot be removed now is left to the next.

        Raises:
            Stopped: from the gate.
        """
        for intent in abandoned(self._folder, owner_gone):
            try:
                remove_probe(self.connect(intent.location), intent.token, gate=self.gate)
            except (S3Error, UsageError) as error:
                _LOG.debug("a probe below %s is not removed: %s", intent.location, error)
            else:
                intent.forget()

    @property
    def _folder(self) -> Path:
        return self.joblist.state_path("probe")

    def _check_access(self, connection: Connection) -> None:
        with announced(self._folder, connection.location, self.owner) as begun:
            check_access(connection, begun.token, gate=self.gate, on_doubt=begun.doubt)


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
        fsio.replace_file(cache, json.dumps(kept, sort_keys=True).encode() + b"\n")
    except StorageError as error:
        _LOG.debug("probe result not kept: %s", error)
