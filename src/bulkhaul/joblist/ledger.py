"""The truth about claims: immutable numbered records, each put if absent.

A claim and the end of the claim before it compete for the same next number, so the number is a fencing token: whoever
slept through its lease finds its number taken. Needs an atomic link(2), no lock and no clock.

Compaction keeps the last two records and makes the first name a second link to the older of them. So the first name
is never free again, and it says where to begin to look. Records go in ascending order; hence "my predecessor is
still there", asked after a link, proves that my own number was never used before.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from bulkhaul.errors import StorageError
from bulkhaul.fsio import create_file, opened_anew, read_open, storage_error, storage_errors
from bulkhaul.joblist.job import Ledger, Owner

_ATTEMPTS = 20


class Kind(StrEnum):
    """What a record says: somebody took the job, or its owner ended the claim."""

    CLAIM = "claim"
    END = "end"


class End(StrEnum):
    """How a claim ended; `released` gives the job back."""

    SUCCESS = "success"
    ERROR = "error"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Record:
    """One immutable entry of a job's ledger; its number is the fencing token.

    `deaths` counts, in a claim, the claims just before it that ended without an `end` record and without progress.
    """

    job: str
    generation: int
    kind: Kind
    owner: Owner
    at: str
    nonce: str
    end: End | None = None
    text: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    deaths: int = 0


_FIELDS = frozenset(each.name for each in fields(Record))


def new_record(job: str, generation: int, owner: Owner, **values: Any) -> Record:
    """A record of this moment with a nonce of its own: a claim, or the end of one when `values` hold `end`."""
    kind = Kind.END if "end" in values else Kind.CLAIM
    at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Record(job, generation, kind, owner, at, secrets.token_hex(8), **values)


def record_path(folder: Path, job: str, generation: int) -> Path:
    """The file of one record."""
    return Path(_place(folder, job, generation))


def _place(folder: Path, job: str, generation: int) -> str:
    # Text: a scan of 10^5 jobs would spend most of its time on putting `Path`s together.
    return f"{folder}/{job}.{generation:06d}"


def state_of(record: Record | None, *, expired: bool) -> Ledger:
    """The column of the table of standings that the newest `record` stands for."""
    if record is None:
        return Ledger.EMPTY
    match record.end:
        case End.SUCCESS:
            return Ledger.SUCCESS
        case End.ERROR:
            return Ledger.ERROR
        case End.RELEASED:
            return Ledger.RELEASED
        case None:
            return Ledger.EXPIRED if expired else Ledger.ALIVE


def read_record(folder: Path, job: str, generation: int) -> Record | None:
    """The record under that number, None when there is none.

    A record that cannot be understood counts as a claim of an unknown owner of its own, whose lease runs out.
    """
    place = _place(folder, job, generation)
    try:
        data = opened_anew(lambda: _read_whole(place))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(place, error) from error
    try:
        return _decode(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Record(job, generation, Kind.CLAIM, _unknown_owner(job, generation), "", "")


def _read_whole(place: str) -> bytes:
    fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_open(fd)
    finally:
        os.close(fd)


def _unknown_owner(job: str, generation: int) -> Owner:
    # A name for each record: the silence of one must not prove the death of the next.
    return Owner(f"unknown-{job}-{generation:06d}", "unknown", "", "", "", 0, 0)


def newest_record(folder: Path, job: str, *, hint: int = 0) -> Record | None:
    """The newest record of `job`, None when it has none; `hint` is a number that was seen before (0: none)."""
    first = hint
    for _ in range(_ATTEMPTS):
        if not first:
            oldest = read_record(folder, job, 1)
            if oldest is None:
                return None
            first = oldest.generation
        newest = first
        while has_record(folder, job, newest + 1):
            newest += 1
        # Read after the next number was found free: compaction goes upwards, so what still stands here is the newest.
        record = read_record(folder, job, newest)
        if record is not None and record.generation == newest:
            return record
        first = newest_numbers(folder, job).get(job, 0)
    raise StorageError(record_path(folder, job, first), "the ledger has no end", "look at the ledger of this job")


def newest_numbers(folder: Path, job: str | None = None) -> dict[str, int]:
    """The highest number of each job (or of `job` alone) by one listing."""
    numbers: dict[str, int] = {}
    with storage_errors(folder), suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            name, _, digits = entry.name.rpartition(".")
            if digits.isdecimal() and len(digits) >= 6 and job in (None, name):
                numbers[name] = max(numbers.get(name, 0), int(digits))
    return numbers


def has_record(folder: Path, job: str, generation: int) -> bool:
    """Whether a record stands under that number; it may be one that compaction has not reached yet."""
    place = _place(folder, job, generation)
    try:
        os.lstat(place)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(place, error) from error
    return True


def publish(folder: Path, record: Record) -> bool:
    """Put `record` under its number; False when that number was, or had been, another's.

    Raises:
        StorageError: nothing is known to be published.
    """
    path = record_path(folder, record.job, record.generation)
    data = _encode(record)
    try:
        won = create_file(path, data)
    except StorageError:
        # The link may have been made and its answer lost: ask once more, the nonce tells.
        won = create_file(path, data)
    if won and record.generation > 1 and not _stands(folder, record.job, record.generation - 1):
        # A number that was used and compacted while this process slept.
        with storage_errors(path):
            path.unlink(missing_ok=True)
        return False
    return won


def is_newest(folder: Path, record: Record) -> bool:
    """True while `record` still is the last word on its job."""
    if has_record(folder, record.job, record.generation + 1):
        return False
    present = read_record(folder, record.job, record.generation)
    return present is not None and present.nonce == record.nonce


def compact(folder: Path, job: str, newest: int) -> None:
    """Drop the records of `job` below the last two; a kill in between leaves a ledger that reads the same."""
    if newest <= 2:
        return
    first = record_path(folder, job, 1)
    private = folder / f".{secrets.token_hex(8)}.tmp"
    with storage_errors(first):
        try:
            private.hardlink_to(record_path(folder, job, newest - 1))
            private.replace(first)
        except (FileNotFoundError, PermissionError):
            # Somebody else has compacted further, or we may not write to another user's record: the kernel's
            # protected_hardlinks then allows no second link to it. It stays, and the ledger reads the same.
            return
        finally:
            private.unlink(missing_ok=True)
        for generation in range(2, newest - 1):
            record_path(folder, job, generation).unlink(missing_ok=True)


def _stands(folder: Path, job: str, generation: int) -> bool:
    record = read_record(folder, job, generation)
    return record is not None and record.generation == generation


def _encode(record: Record) -> bytes:
    return json.dumps(asdict(record)).encode("ascii") + b"\n"


def _decode(data: bytes) -> Record:
    values = json.loads(data)
    values["owner"] = Owner.from_dict(values["owner"])
    values["kind"] = Kind(values["kind"])
    values["end"] = None if values["end"] is None else End(values["end"])
    # What a newer version adds is passed over: its owner's heartbeat counts.
    return Record(**{name: values[name] for name in _FIELDS if name in values})
