"""Probes written down in the joblist before they write to S3, so that what a killed worker left there is removed.

A probe writes below a dataset's own prefix, where nothing may stay that is not of the dataset.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bulkhaul import fsio
from bulkhaul.errors import S3Error, UsageError
from bulkhaul.joblist.job import Owner
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.probe import new_token

_LOG = logging.getLogger(__name__)

_SUFFIX = ".intent"

_LONGEST = 3600.0
"""Seconds. S3 takes no signature that is 15 minutes off, and no probe goes on for so long: an older one is over."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One probe that was begun below `location` and whose end nobody wrote down."""

    path: Path
    location: S3Location

    @property
    def token(self) -> str:
        """What is in the names of all that it wrote."""
        return self.path.name.removesuffix(_SUFFIX)

    def forget(self) -> None:
        """Say that nothing of it is left in S3."""
        with suppress(OSError):  # whoever reads it next finds nothing to remove
            self.path.unlink(missing_ok=True)


@dataclass(slots=True)
class Announced:
    """A probe that goes on; `doubt` says that something of it may be left in S3, so that its intent stays."""

    token: str
    doubtful: bool = False

    def doubt(self) -> None:
        """Leave the intent to whoever comes after this worker."""
        self.doubtful = True


@contextmanager
def announced(folder: Path, location: S3Location, owner: Owner) -> Iterator[Announced]:
    """Write into `folder` that `owner` probes below `location`; the block gets the token.

    The intent stays when the block is cut off, by a kill or by a stop in the middle of its own cleaning up, or says
    that it is in doubt.

    Raises:
        StorageError: it cannot be written; no probe was begun.
    """
    intent = Intent(folder / f"{new_token()}{_SUFFIX}", location)
    fsio.make_folder(folder)
    fsio.create_file(intent.path, json.dumps({"location": str(location), "owner": asdict(owner)}).encode() + b"\n")
    probe = Announced(intent.token)
    ended = False
    try:
        yield probe
        ended = True
    except S3Error:
        ended = True  # the probe has cleaned up behind its own error
        raise
    finally:
        if ended and not probe.doubtful:
            intent.forget()


def abandoned(folder: Path, owner_gone: Callable[[Owner], bool]) -> Iterator[Intent]:
    """The intents in `folder` whose owner is proven dead, or that are older than any probe takes."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            values = json.loads(path.read_bytes())
            location, owner = S3Location.parse(str(values["location"])), Owner.from_dict(values["owner"])
            old = time.time() - path.stat().st_mtime > _LONGEST
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            _LOG.debug("not an intent, or gone meanwhile: %s: %s", path, error)
            continue
        if old or owner_gone(owner):
            yield Intent(path, location)
