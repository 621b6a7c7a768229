"""The audit of one dataset: its manifest against a fresh listing, and, on demand, against the source read again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bulkhaul.errors import SourceError
from bulkhaul.fsio import make_folder
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.transfer.compare import digest, same_slices
from bulkhaul.transfer.listings import Listings
from bulkhaul.transfer.manifest import Record
from bulkhaul.transfer.manifest_file import DamagedManifest, read_manifest
from bulkhaul.transfer.reading import opened, slices
from bulkhaul.transfer.requests import Requests
from bulkhaul.transfer.terms import MIB, Gate, SyncLevel
from bulkhaul.transfer.verify import Discrepancy, discrepancies

_PART_SIZE = 16 * MIB


def audit_dataset(
    connection: Connection,
    manifest: Path,
    *,
    source: Path | None,
    sync_level: SyncLevel,
    gate: Gate,
    scratch: Path | None = None,
) -> Iterator[Discrepancy]:
    """Yield what is not in S3 as the manifest says: missing, of another size or ETag, or never transferred.

    Without a manifest that can be read to its end, that is told: the next transfer compares and makes a new one.

    Nothing is downloaded and the source is not needed; at the level `checksum`, with a `source`, each file is read
    again and its digest compared too. `scratch` is a folder for spills (default: the system's temporary one).

    Raises:
        S3Error: the target cannot be listed.
        Stopped: from the gate.
    """
    requests = Requests(connection, gate)
    reader = (
        _Reader(Path(os.path.realpath(source)), requests)
        if source is not None and sync_level is SyncLevel.CHECKSUM
        else None
    )
    if scratch is not None:
        make_folder(scratch)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        # Sorted first, since a discrepancy that was told cannot be taken back.
        listings = Listings(requests, Path(folder))
        listings.sorted = True
        try:
            for judged in discrepancies(read_manifest(manifest), listings.objects(), location=connection.location):
                if isinstance(judged, Discrepancy):
                    yield judged
                elif reader is not None and judged.in_s3 and (reason := reader.problem(judged)):
                    yield Discrepancy(judged.name, reason)
        except FileNotFoundError:
            yield Discrepancy(manifest.name, "there is no manifest, so nothing proves the dataset")
        except DamagedManifest as error:
            yield Discrepancy(manifest.name, f"nothing proves the dataset: {error}")


class _Reader:
    """Reads the source again and compares its digests with those of the records."""

    def __init__(self, source: Path, requests: Requests) -> None:
        self._source = source
        self._requests = requests

    def problem(self, record: Record) -> str | None:
        """Why the file is not the one in S3; None when it is."""
        self._requests.gate()
        try:
            with opened(self._source, record.name) as (fd, file):
                if file.size != record.size:
                    return f"the source has {file.size} bytes now, S3 has {record.size}"
                same = self._same(record, slices(fd, gate=self._requests.gate))
        except SourceError as error:
            return f"the source cannot be read: {error.reason}"
        return None if same else "the source's content is not what S3 has"

    def _same(self, record: Record, data: Iterator[bytes]) -> bool:
        if record.crc64nvme:
            return digest(data) == record.crc64nvme
        key = self._requests.connection.location.key(record.name)
        remote = RemoteObject(key, record.size, record.etag)
        stored = self._requests.stored_crc64nvme
        return same_slices(data, remote, part_size=_PART_SIZE, stored_crc=lambda: stored(key)) is not None
