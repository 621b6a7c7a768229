"""What the doctor found: values, to be printed or sent as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from bulkhaul.errors import OK, StorageError


class Level(StrEnum):
    """How a finding counts: fine, to be known, or the end of it."""

    FINE = "fine"
    WARNING = "warning"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one trial showed."""

    trial: str
    level: Level
    text: str

    @property
    def fatal(self) -> bool:
        """True when no joblist can live here."""
        return self.level is Level.FATAL


@dataclass(frozen=True, slots=True)
class Findings:
    """What `examine_folder` found in `folder`."""

    folder: Path
    findings: tuple[Finding, ...]

    @property
    def fatal(self) -> bool:
        """True when the file system cannot hold the ledger."""
        return any(finding.fatal for finding in self.findings)

    @property
    def mode(self) -> str:
        """How claims will be kept apart here."""
        if self.fatal:
            return "none: no joblist can live here, see above"
        locks_exclude = all(item.level is Level.FINE for item in self.findings if item.trial.startswith("flock"))
        return "ledger and locks" if locks_exclude else "ledger alone"

    @property
    def exit_code(self) -> int:
        """74 for a file system that cannot hold the ledger, else 0."""
        return StorageError.exit_code if self.fatal else OK

    def as_dict(self) -> dict[str, object]:
        """The findings as JSON values."""
        return {
            "folder": str(self.folder),
            "mode": self.mode,
            "fatal": self.fatal,
            "findings": [{**asdict(item), "level": str(item.level)} for item in self.findings],
        }


def judged(trial: str, good: bool, *, fine: str, otherwise: str, level: Level = Level.FATAL) -> Finding:
    """A finding that is `fine`, or `otherwise` of `level`."""
    return Finding(trial, Level.FINE, fine) if good else Finding(trial, level, otherwise)
