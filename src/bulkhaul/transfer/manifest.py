"""The manifest's records: one for each entry of a dataset's tree, each a line of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from bulkhaul.sources.tree import LocalFile


class Outcome(StrEnum):
    """What became of an entry of the tree."""

    SENT = "sent"
    SKIPPED = "skipped"
    FAILED = "failed"


class Verified(StrEnum):
    """How the object's content was proven: checked by the server at the put, compared by digest, or by size alone."""

    NO = ""
    PUT = "put"
    MD5 = "md5"
    CRC64NVME = "crc64nvme"
    SIZE = "size"


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_VERIFIED = {verified.value: verified for verified in Verified}
_quoted = json.encoder.encode_basestring_ascii


class Record(NamedTuple):
    """One entry: name below the dataset (a folder's ends in `/`), its fate, and what proves it.

    Size in bytes; `mtime_ns` and `ctime_ns` are those of the bytes that were read. An ETag means that the object is
    in S3, unless the outcome is `failed`.
    """

    name: str
    outcome: Outcome
    reason: str = ""
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    etag: str = ""
    crc64nvme: str = ""
    verified: Verified = Verified.NO

    @property
    def in_s3(self) -> bool:
        """Whether an object stands for this entry."""
        return self.outcome is not Outcome.FAILED and bool(self.etag)

    @property
    def order(self) -> bytes:
        """What manifests, walks and listings are sorted by."""
        return self.name.encode("utf-8", "surrogateescape")  # as `os.fsencode`, in half the time

    def describes(self, file: LocalFile) -> bool:
        """Whether the file is still the one that this record is about."""
        return (self.size, self.mtime_ns, self.ctime_ns) == (file.size, file.mtime_ns, file.ctime_ns)


def failed(file: LocalFile, reason: str) -> Record:
    """The record of a file that did not arrive."""
    return Record(file.name, Outcome.FAILED, reason, file.size, file.mtime_ns, file.ctime_ns)


def skipped(file: LocalFile, reason: str, *, etag: str, verified: Verified, crc64nvme: str = "") -> Record:
    """The record of a file that S3 has already, as far as `verified` proves it."""
    version = (file.size, file.mtime_ns, file.ctime_ns)
    return Record(file.name, Outcome.SKIPPED, reason, *version, etag, crc64nvme, verified)


def encode(record: Record) -> bytes:
    """The record as one line of JSON without its newline; names that are not UTF-8 keep their bytes as escapes."""
    name, outcome, reason, size, mtime_ns, ctime_ns, etag, crc64nvme, verified = record
    # Put together by hand: `json.dumps` of a dict takes four times as long, for each of a million files.
    line = f'{{"name":{_quoted(name)},"outcome":"{outcome}"'
    if reason:
        line += f',"reason":{_quoted(reason)}'
    if mtime_ns or etag:
        line += f',"size":{size},"mtime_ns":{mtime_ns},"ctime_ns":{ctime_ns}'
    if etag:
        line += f',"etag":{_quoted(etag)}'
    if crc64nvme:
        line += f',"crc64nvme":{_quoted(crc64nvme)}'
    if verified:
        line += f',"verified":"{verified}"'
    return f"{line}}}".encode("ascii")


def plain(record: Record) -> tuple[object, ...]:
    """The record in types that `marshal` takes."""
    # `value` is a function call in Python, twice a record.
    return (record[0], record[1]._value_, *record[2:8], record[8]._value_)


def from_plain(fields: Any) -> Record:
    """The record of `plain`."""
    name, outcome, reason, size, mtime_ns, ctime_ns, etag, crc64nvme, verified = fields
    return Record(name, _OUTCOMES[outcome], reason, size, mtime_ns, ctime_ns, etag, crc64nvme, _VERIFIED[verified])


# A line as `encode` writes it, of values without escapes: a third of the time that JSON takes, for each file again.
_TEXT = r'"([^"\\\x00-\x1f]*)"'
_LINE = re.compile(
    rf'^\{{"name":{_TEXT},"outcome":{_TEXT}(?:,"reason":{_TEXT})?'
    r'(?:,"size":([0-9]+),"mtime_ns":(-?[0-9]+),"ctime_ns":(-?[0-9]+))?'
    rf'(?:,"etag":{_TEXT})?(?:,"crc64nvme":{_TEXT})?(?:,"verified":{_TEXT})?\}}$',
    re.MULTILINE,
)
_KEYS = Record._fields
_NUMBERS = ("size", "mtime_ns", "ctime_ns")


def decode(line: bytes) -> Record:
    """The record of a line; keys that a later version added are ignored.

    Raises:
        ValueError: not a record.
    """
    text = line.decode()
    found = _LINE.fullmatch(text)
    return _record(found.groups("") if found else _values(text))


def decode_lines(lines: bytes) -> Iterator[Record]:
    """Yield the records of whole lines, each with its newline.

    Raises:
        ValueError: not records.
    """
    text = lines.decode()
    found: list[Sequence[str]] = _LINE.findall(text)
    if len(found) != text.count("\n"):
        found = [_values(line) for line in text.split("\n")[:-1]]
    return map(_record, found)


def _record(texts: Sequence[str]) -> Record:
    name, outcome, reason, size, mtime_ns, ctime_ns, etag, crc64nvme, verified = texts
    try:
        numbers = int(size or 0), int(mtime_ns or 0), int(ctime_ns or 0)
        return Record(name, _OUTCOMES[outcome], reason, *numbers, etag, crc64nvme, _VERIFIED[verified])
    except KeyError as error:
        raise ValueError(str(error)) from error


def _values(text: str) -> Sequence[str]:
    fields = json.loads(text)
    if not isinstance(fields, dict) or not isinstance(fields.get("name"), str):
        raise ValueError("not a record")
    if "" in map(fields.get, _NUMBERS):  # what `_record` takes for a number that is missing
        raise ValueError("not a number")
    return [str(fields.get(key, "")) for key in _KEYS]
