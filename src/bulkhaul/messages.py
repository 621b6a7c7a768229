"""What a step says on the way: a line with a mark and a level of detail, handed to whoever prints or drops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """The sign in front of a line: the users' own notes fixed these four."""

    INFO = "💡"
    DONE = "✅"
    WARNING = "❗"
    FAILED = "❌"


@dataclass(frozen=True, slots=True)
class Message:
    """One line for a person; `detail` is the least verbosity (0 to 3) at which it is said."""

    mark: Mark
    text: str
    detail: int = 1

    def __str__(self) -> str:
        return f"{self.mark} {self.text}"


Say = Callable[[Message], None]


def silent(_message: Message) -> None:
    """Say nothing."""
