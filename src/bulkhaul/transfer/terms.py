"""What one transfer is given, what it tells on the way, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from bulkhaul.errors import UsageError
from bulkhaul.s3.policy import DEFAULT_POLICY, RetryPolicy
from bulkhaul.transfer.limits import UNLIMITED, Rates

MIB = 1024 * 1024

Gate = Callable[[], None]
"""Called before each request; raises `Stopped`, `Interrupted` or `ClaimLost` when no more may be sent. May block."""


class SyncLevel(StrEnum):
    """How much has to agree before a listed object is left alone."""

    SIZE = "size"
    DEFAULT = "default"
    CHECKSUM = "checksum"


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """How to transfer; sizes in bytes. `memory_budget` bounds the bytes of small files in flight.

    `checksums` false is the mode for a server that compares no CRC64NVME (of parts: `multipart_checksums`): the MD5 in
    its ETags proves what arrived. `multipart` false: it takes no upload in parts. `listing_in_order` false for one that
    does not list in byte order: a plan made while such a listing streams would send what is there before the break is
    seen. `listing_lag` is how many seconds an object may take to be listed as it was put. `sender_processes` send small
    files beside the worker. `joblist_limits` are those of all workers of a joblist together.
    """

    sync_level: SyncLevel = SyncLevel.DEFAULT
    multipart_threshold: int = 16 * MIB
    part_size: int = 16 * MIB
    max_concurrency: int = 512
    manifest_upload: bool = True
    memory_budget: int = 128 * MIB
    checksums: bool = True
    multipart: bool = True
    multipart_checksums: bool = True
    listing_in_order: bool = True
    listing_lag: float = 15.0
    sender_processes: int = 0
    worker_limits: Rates = UNLIMITED
    joblist_limits: Rates = UNLIMITED
    retry: RetryPolicy = DEFAULT_POLICY

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            UsageError: names the option, its value and the least one.
        """
        least = {"multipart_threshold": 1, "part_size": 5 * MIB, "max_concurrency": 1, "memory_budget": 1}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise UsageError(name, f"{getattr(self, name)} is too small", f"use at least {minimum}")


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a transfer keeps its files: the manifest, this generation's partial one, older partials, spills."""

    manifest: Path
    partial: Path
    earlier: tuple[Path, ...]
    scratch: Path


Stage = Literal["plan", "upload", "verify", "metadata", "manifest"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is; totals are None until the plan has seen the whole tree.

    `last` is the last name done, `last_error` the last file that failed and why.

    `files_done` and `bytes_done` count what is settled, sent or not; `files_sent` and `bytes_sent` what this run sent.
    """

    stage: Stage
    files_done: int
    files_total: int | None
    bytes_done: int
    bytes_total: int | None
    skipped: int
    failed: int
    last: str
    files_sent: int = 0
    bytes_sent: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What a transfer did; `failures` names the first few (name, reason), `extra` counts objects without a source."""

    files_sent: int
    bytes_sent: int
    files_skipped: int
    files_failed: int
    extra: int
    manifest_sha256: str
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether each file of the dataset is proven to be in S3."""
        return self.files_failed == 0

    def as_dict(self) -> dict[str, object]:
        """The report as JSON values."""
        return asdict(self)
