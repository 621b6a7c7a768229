"""The values that the parts of the check share: what is looked at, and what is found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bulkhaul.errors import OK, BulkhaulError
from bulkhaul.messages import Mark, Message
from bulkhaul.s3.location import S3Location

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A job as far as its data go: from where, to where, and whether they have arrived."""

    name: str
    source: Path
    location: S3Location
    done: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend or worth knowing: the thing, the reason, the next step.

    `exit_code` is that of the error which it would become; 0 for a mere notice.
    """

    thing: str
    reason: str
    next_step: str
    exit_code: int = OK

    @classmethod
    def of(cls, error: BulkhaulError) -> Finding:
        """The error as a finding."""
        return cls(error.thing, error.reason, error.next_step, error.exit_code)

    @property
    def message(self) -> Message:
        """The finding as a line for a person."""
        text = f"{self.thing}: {self.reason}; {self.next_step}"
        return Message(Mark.WARNING, text) if self.exit_code == OK else Message(Mark.FAILED, text, detail=0)


class Examples:
    """Counts texts and keeps the first few: a dataset may have a million faults of one kind."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.count = 0
        self._first: list[str] = []
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Count one more."""
        self.count += 1
        if self.count <= _NAMED:
            self._first.append(text)

    def __str__(self) -> str:
        more = f" and {self.count - _NAMED} more" if self.count > _NAMED else ""
        return ", ".join(self._first) + more
