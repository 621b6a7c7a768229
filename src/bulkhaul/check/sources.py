"""The part of the check that walks the sources: is each file there, readable, and under a name that S3 takes.

It opens no file: on a parallel file system the walk alone takes long enough.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bulkhaul.check.findings import Examples, Finding, Target
from bulkhaul.errors import SourceError
from bulkhaul.messages import Mark, Message, Say
from bulkhaul.s3.location import key_problem
from bulkhaul.sources.tree import LeftOut, LocalFile, read_path, walk


@dataclass(slots=True)
class SourceSize:
    """What there is to compare or send."""

    files: int = 0
    bytes: int = 0


def check_sources(targets: Sequence[Target], size: SourceSize, *, say: Say) -> Iterator[Finding]:
    """Yield what in the sources is missing, unreadable, refused by the target or left out; `size` adds up the rest."""
    for number, target in enumerate(targets, 1):
        say(Message(Mark.INFO, f"Reading source {number} of {len(targets)}: {target.source}", detail=2))
        try:
            yield from _check_source(target, size)
        except SourceError as error:
            yield Finding(f"{target.name}.txt", f"{error.thing}: {error.reason}", error.next_step, error.exit_code)
    if targets:
        say(Message(Mark.INFO, f"Sources: {size.files} file(s), {size.bytes / 1e9:.1f} GB to compare or send."))


@dataclass(slots=True)
class _Faults:
    """What a source holds that will not arrive."""

    failed: Examples = field(default_factory=Examples)
    refused: Examples = field(default_factory=Examples)
    skipped: Examples = field(default_factory=Examples)


def _check_source(target: Target, size: SourceSize) -> Iterator[Finding]:
    faults = _Faults()
    before = size.files
    for entry in walk(target.source):
        if isinstance(entry, LeftOut):
            (faults.failed if entry.failed else faults.skipped).add(f"{entry.name!r} ({entry.reason})")
        else:
            size.files += 1
            size.bytes += entry.size
            _check_file(target, entry, faults)
    thing = str(target.source)
    if faults.failed.count:
        reason = f"{faults.failed.count} entries cannot be read: {faults.failed}"
        yield Finding(thing, reason, "make them readable, or move them out of the dataset", SourceError.exit_code)
    if faults.refused.count:
        reason = f"{faults.refused.count} names cannot be keys: {faults.refused}"
        yield Finding(thing, reason, "rename them", SourceError.exit_code)
    if faults.skipped.count:
        reason = f"{faults.skipped.count} entries are not sent: {faults.skipped}"
        yield Finding(thing, reason, "replace links by what they lead to if that must arrive")
    if size.files == before:
        yield Finding(thing, "it holds no file", "remove the job, or fill the dataset", SourceError.exit_code)


def _check_file(target: Target, file: LocalFile, faults: _Faults) -> None:
    problem = key_problem(target.location.key(file.name))
    if problem is not None:
        faults.refused.add(f"{file.name!r} ({problem})")
    elif not os.access(read_path(target.source, file.name), os.R_OK):
        faults.failed.add(f"{file.name!r} (no right to read it)")
