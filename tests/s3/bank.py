"""A provider of tokens whose clock, lives and failures a test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from bulkhaul.s3.credentials import CredentialSource, Grant
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token

TARGET = S3Location("bucket", "prefix")


START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@dataclass
class Bank:
    """A provider on a clock of its own; counts what it is asked."""

    life: float | None = 3600.0
    covers: S3Location | None = None
    at: datetime = START
    calls: int = 0
    failing: BaseException | None = None
    asked: list[S3Location] = field(default_factory=list)

    def now(self) -> datetime:
        return self.at

    def wait(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def __call__(self, location: S3Location) -> Grant:
        self.calls += 1
        self.asked.append(location)
        if self.failing is not None:
            raise self.failing
        end = None if self.life is None else self.at + timedelta(seconds=self.life)
        return Grant(Token(f"KEY{self.calls}", "secret", "session", end), covers=self.covers)

    def source(self) -> CredentialSource:
        return CredentialSource(self, TARGET, now=self.now)
