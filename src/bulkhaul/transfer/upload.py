"""One file to S3, or proven to be there: read once, checksum given in advance, repeated by class of fault.

Every fault that is this file's own becomes a failed record; all others leave as errors and end the transfer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bulkhaul.errors import (
    BucketUnusable,
    ClockSkewed,
    CredentialsError,
    IntegrityFailed,
    ObjectRefused,
    S3Error,
    SourceChanged,
    SourceError,
    Throttled,
    Transient,
    UploadGone,
)
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.engine import Engine
from bulkhaul.s3.multipart import upload_large
from bulkhaul.s3.parts import OpenFile
from bulkhaul.sources.tree import LocalFile, read_path
from bulkhaul.transfer.compare import Likeness, same_slices
from bulkhaul.transfer.journal import Journal
from bulkhaul.transfer.manifest import Record, failed
from bulkhaul.transfer.pacing import SharedPacing
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.reading import SourceStorageFailed, opened, read_as_planned, read_whole, slices
from bulkhaul.transfer.requests import Requests
from bulkhaul.transfer.small import same_record, sent_record, settle_small
from bulkhaul.transfer.terms import TransferOptions

_FAULTS_OF_ALL = (CredentialsError, BucketUnusable, ClockSkewed, Throttled)
_READ_AGAIN = (SourceChanged, SourceStorageFailed, IntegrityFailed, UploadGone)
_NOT_IN_THE_FILE = (Transient, SourceStorageFailed, ObjectRefused, IntegrityFailed)
_MAY_PASS = (Transient, SourceStorageFailed)
STORM = 100
"""Files in a row that may fail by network, file system or refusal before it is no longer their own fault."""


class FaultMayPass(Exception):
    """One file met what may be over later; `record` is its failure if nobody tries again."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.reason)
        self.record = record


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends files of `source` under the keys that `key_of` gives their names; safe from many threads.

    `moved(nbytes, name)` hears of a large file's bytes as they arrive.
    """

    source: Path
    key_of: Callable[[str], str]
    connection: Connection
    options: TransferOptions
    requests: Requests
    journal: Journal
    pacing: SharedPacing
    moved: Callable[[int, str], None]
    storm: Storm = field(default_factory=lambda: Storm(STORM))

    def in_parts(self, file: LocalFile) -> bool:
        """Whether a file is too large to be held in memory."""
        return file.size >= self.options.multipart_threshold

    def send(self, task: Upload | Compare) -> Record:
        """As `deliver`, with no later try: the file has failed then."""
        try:
            return self.deliver(task)
        except FaultMayPass as fault:
            return fault.record

    def deliver(self, task: Upload | Compare, *, again: bool = False) -> Record:
        """Bring one file to S3 and return its record, sent, skipped or failed.

        `again`: it has failed before, and so have all that are sent now: that they do in a row says nothing of others.

        Raises:
            FaultMayPass: network or file system; a later try may do.
            CredentialsError, BucketUnusable, ClockSkewed, Throttled, Stopped, ClaimLost, StorageError: no file can be
                sent any more; also Transient, SourceError, ObjectRefused or IntegrityFailed, when a hundred files in a
                row have met one for the first time.
        """
        try:
            try:
                record = self._send(task)
            except _READ_AGAIN:
                record = self._send(task)
        except (SourceError, S3Error) as error:
            if isinstance(error, _FAULTS_OF_ALL):
                raise
            record = failed(task.file, error.reason)
            if not again:
                self.storm.noted(error, record)
            if isinstance(error, _MAY_PASS):
                raise FaultMayPass(record) from error
            return record
        self.storm.over()
        return record

    def _send(self, task: Upload | Compare) -> Record:
        # The file is closed and proven unchanged before a byte leaves.
        if not self.in_parts(task.file):
            body = read_as_planned(self.source, task.file)
            if body is not None:
                return self._small(task, task.file, body)
        with opened(self.source, task.name) as (fd, file):
            if self.in_parts(file):
                return self._large(task, fd, file)
            body = read_whole(fd, file)
        return self._small(task, file, body)

    def _small(self, task: Upload | Compare, file: LocalFile, body: bytes) -> Record:
        return settle_small(
            task,
            file,
            body,
            part_size=self.options.part_size,
            put=self._put,
            stored_crc=self._stored_crc,
            checksums=self.options.checksums,
        )

    def _large(self, task: Upload | Compare, fd: int, file: LocalFile) -> Record:
        if isinstance(task, Compare) and (same := self._likeness(task, file, slices(fd, gate=self.requests.gate))):
            return same_record(task, file, same)
        if not self.options.multipart:
            step = "raise `multipart_threshold`, or use another server"
            raise ObjectRefused(task.name, "the server takes no upload in parts", step)
        path = Path(read_path(self.source, task.name))
        moved = 0

        def on_bytes(nbytes: int) -> None:
            nonlocal moved
            moved += nbytes
            self.moved(nbytes, task.name)

        try:
            result = upload_large(
                self.connection.client,
                self.connection.location.bucket,
                self.key_of(task.name),
                # The very file that was opened and found in its place: another open could be led elsewhere.
                OpenFile(fd, path, file.size, file.mtime_ns, file.ctime_ns, file.inode),
                part_size=self.options.part_size,
                journal=self.journal,
                repeat=self.requests.repeat,
                gate=self.requests.gate,
                on_bytes=on_bytes,
                checksums=self.options.multipart_checksums,
            )
        finally:
            self.moved(-moved, task.name)  # the whole file is counted, or will be sent again
        return sent_record(file, result.etag, result.crc64nvme, checksums=self.options.multipart_checksums)

    def _likeness(self, task: Compare, file: LocalFile, data: Iterable[bytes]) -> Likeness | None:
        if file.size != task.remote.size:
            return None
        return same_slices(
            data,
            task.remote,
            part_size=self.options.part_size,
            stored_crc=lambda: self._stored_crc(task.remote.key),
        )

    def _stored_crc(self, key: str) -> str | None:
        # A server that compares none may keep whatever a client said.
        return self.requests.stored_crc64nvme(key) if self.options.checksums else None

    def _put(self, name: str, body: bytes, crc: str) -> str:
        key = self.key_of(name)
        engine, portable = self.connection.engine, self.connection.portable
        try:
            return self._put_by(engine, key, body, crc)
        except ObjectRefused:
            # The fast engine refuses some keys that S3 takes.
            if engine is portable:
                raise
            return self._put_by(portable, key, body, crc)

    def _put_by(self, engine: Engine, key: str, body: bytes, crc: str) -> str:
        def put() -> str:
            return self.pacing.timed(lambda: engine.put(key, body, crc64nvme=crc), nbytes=len(body))

        return self.requests.repeat(put, nbytes=len(body))


class Storm:
    """Counts files in a row that failed by what is not in them; a million refusals of one policy help nobody."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._count = 0

    def noted(self, error: S3Error | SourceError, record: Record) -> Record:
        """Return the failed `record`, or raise `error` when it is one too many."""
        if isinstance(error, _NOT_IN_THE_FILE):
            with self._lock:
                self._count += 1
                if self._count >= self._most:
                    raise error
        return record

    def over(self) -> None:
        """A file arrived."""
        self._count = 0
