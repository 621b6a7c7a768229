"""An S3 in memory behind the engine port, one level below the transfer, and what runs a transfer against it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulkhaul.s3.connection import Connection
from bulkhaul.s3.endpoint import Endpoint, S3Options
from bulkhaul.s3.engine import RemoteObject, Repeat, once
from bulkhaul.s3.location import S3Location
from bulkhaul.transfer.dataset import Progress, Senders, TransferOptions, TransferReport, Workspace, transfer_dataset

BUCKET = "memory"
NOTICED = 3.0
"""Seconds within which a stop must be noticed: the gate is asked twice a second, and the machine may be busy."""


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class MemoryEngine:
    """Keeps sizes and ETags, and bodies only on demand; `before_put` may raise, `after_put` looks at what stands."""

    name = "memory"

    def __init__(self, *, keep_bodies: bool = True, order: Callable[[str], Any] = str.encode) -> None:
        self.objects: dict[str, RemoteObject] = {}
        self.bodies: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.listings: list[str] = []
        self.order = order
        self.keep_bodies = keep_bodies
        self.before_put: Callable[[str], None] = lambda _key: None
        self.after_put: Callable[[str], None] = lambda _key: None
        self.lock = threading.Lock()

    def put(self, key: str, body: bytes, *, crc64nvme: str) -> str:
        self.before_put(key)
        with self.lock:
            self.puts.append(key)
            self.objects[key] = RemoteObject(key, len(body), md5(body))
            if self.keep_bodies:
                self.bodies[key] = body
            self.after_put(key)
        return md5(body)

    def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
        with self.lock:
            self.listings.append(prefix + after.removeprefix(prefix))
            keys = sorted((key for key in self.objects if key.startswith(prefix)), key=self.order)
            keys = [key for key in keys if not after or self.order(key) > self.order(after)]
        for key in keys:
            if key in self.objects:
                yield self.objects[key]

    def has(self, key: str) -> bool:
        return key in self.objects


class MemoryClient:
    """The boto3 client beside a `MemoryEngine`: a HEAD that tells no checksum, as of objects that others put."""

    def head_object(self, **_arguments: str) -> dict[str, str]:
        return {}


def folder_wise(key: str) -> tuple[bytes, ...]:
    """SeaweedFS's order: by folder, each by its bare name, so `a/x` comes before `a b`."""
    return tuple(part.encode() for part in key.split("/"))


def connection_of(engine: Any, prefix: str = "p/plate") -> Connection:
    return Connection(
        location=S3Location(BUCKET, prefix),
        engine=engine,
        portable=engine,
        client=MemoryClient(),
        source=None,  # type: ignore[arg-type]
        options=S3Options(),
        endpoint=Endpoint(None, "us-east-1", None, path_style=True),
    )


@dataclass
class Rig:
    """One dataset, one place for its files, one S3; `transfer` is the next generation."""

    folder: Path
    connection: Connection
    options: TransferOptions = field(default_factory=lambda: TransferOptions(listing_lag=0))
    generation: int = 0
    partials: list[Path] = field(default_factory=list)
    seen: list[Progress] = field(default_factory=list)
    gate: Callable[[], None] = lambda: None
    senders: Senders = field(default_factory=lambda: Senders(0))

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def manifest(self) -> Path:
        return self.folder / "plate.manifest.jsonl.gz"

    def next_workspace(self) -> Workspace:
        self.generation += 1
        partial = self.folder / "partial" / f"plate.{self.generation:06d}.jsonl"
        space = Workspace(self.manifest, partial, tuple(self.partials), self.folder / "scratch")
        self.partials.append(partial)
        return space

    def transfer(self, **options: Any) -> TransferReport:
        report = transfer_dataset(
            self.source,
            self.connection,
            options=TransferOptions(**{"listing_lag": 0, **options}) if options else self.options,
            workspace=self.next_workspace(),
            gate=self.gate,
            report=self.seen.append,
            senders=self.senders,
        )
        if report.ok:
            for path in self.partials:
                path.unlink(missing_ok=True)
            self.partials.clear()
        return report


def write_tree(folder: Path, files: dict[str, bytes]) -> None:
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
