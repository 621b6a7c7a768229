"""The partial manifest of one generation: what is known so far, appended by many threads, durable by batch.

Lines are records, or notes on multipart uploads that are under way: a successor adopts both. A kill may cut the last
line; it is ignored, and so is any line that is no JSON, since a node's crash can leave worse.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhaul.fsio import make_folder, open_shared, storage_errors
from bulkhaul.transfer.manifest import Record, encode
from bulkhaul.transfer.merging import whole_lines

_BATCH = 256
_FSYNC_EVERY = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class ParkedUpload:
    """A multipart upload that was begun: its id, part size in bytes, and the version of the file it belongs to."""

    key: str
    upload_id: str
    part_size: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Journal:
    """Appends to the partial manifest; safe from many threads. A context manager: closing makes all of it durable.

    Also the journal of multipart uploads of this and earlier generations, as `s3.multipart` asks for it.
    """

    def __init__(
        self, path: Path, *, earlier: Iterable[Path] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self._clock = clock
        self._pending: list[bytes] = []
        self._lock = threading.Lock()  # guards the batch and the uploads; never held over a write
        self._writing = threading.Lock()
        self._synced = clock()
        self._closed = False
        self._parked: dict[str, ParkedUpload] = {}  # by upload id: a file that changed leaves an older upload behind
        self._current: dict[str, ParkedUpload] = {}  # by key: the one that this process goes on with
        self._forsaken: set[str] = set()
        self._asked: dict[str, float] = {}  # by key: since when (seconds since 1970) an upload without a name may stand
        self._unanswered: set[str] = set()
        for old in (*earlier, path):
            self._recall_uploads(old)
        self._unanswered.update(self._asked)  # a new upload of the key does not tell where the old one is
        with storage_errors(path):
            make_folder(path.parent)
            self._fd = open_shared(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            if os.fstat(self._fd).st_size:
                os.write(self._fd, b"\n")  # the last line may be torn: whatever comes next begins a new one

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def append(self, record: Record) -> None:
        """Note what became of an entry; on disk within one batch or at the next `flush`.

        Raises:
            StorageError: a batch could not be written.
        """
        self.extend((encode(record),))

    def extend(self, lines: Iterable[bytes]) -> None:
        """Append records that are encoded already.

        Raises:
            StorageError: a batch could not be written.
        """
        with self._lock:
            self._pending += lines
            full = len(self._pending) >= _BATCH
        if full:
            self._write(durable=False)

    def flush(self) -> int:
        """Make everything durable; return the length of the file in bytes."""
        return self._write(durable=True)

    def close(self) -> None:
        """Make everything durable and close; what threads append afterwards is dropped."""
        if not self._closed:
            try:
                self._write(durable=True)
            finally:
                with self._writing:
                    self._closed = True
                    os.close(self._fd)

    def find(self, key: str, *, size: int, mtime_ns: int, ctime_ns: int) -> tuple[str, int] | None:
        """Upload id and part size in bytes of an upload begun for this very version of the file."""
        with self._lock:
            for found in self._parked.values():
                if found.upload_id in self._forsaken:
                    continue
                if (found.key, found.size, found.mtime_ns, found.ctime_ns) == (key, size, mtime_ns, ctime_ns):
                    self._current[key] = found
                    return found.upload_id, found.part_size
        return None

    def beginning(self, key: str) -> None:
        """Note that a new upload is about to be asked for: a kill before `begun` may leave one whose id is unknown."""
        with self._lock:
            self._note_asked(key)
        self._write(durable=False)  # it has to survive the process, and a node that dies takes little with it

    def unanswered(self, key: str) -> None:
        """Note that one whose id nobody knows may stand beside the one that is begun."""
        with self._lock:
            self._unanswered.add(key)

    def nameless(self) -> dict[str, float]:
        """By key, since when (seconds since 1970) an upload may stand whose id nobody knows."""
        with self._lock:
            return dict(self._asked)

    def _note_asked(self, key: str) -> None:
        since = self._asked.setdefault(key, time.time())
        self._pending.append(json.dumps({"asked": key, "since": since}, separators=(",", ":")).encode("ascii"))

    def begun(self, key: str, upload_id: str, part_size: int, size: int, mtime_ns: int, ctime_ns: int) -> None:
        """Note a new upload, durably, before its first part is sent: what is not noted here is never found again."""
        upload = ParkedUpload(key, upload_id, part_size, size, mtime_ns, ctime_ns)
        with self._lock:
            self._parked[upload_id] = self._current[key] = upload
            fields = {name: getattr(upload, name) for name in ParkedUpload.__slots__}
            self._pending.append(json.dumps({"upload": fields}, separators=(",", ":")).encode("ascii"))
            if key in self._unanswered:
                self._note_asked(key)
            else:
                self._asked.pop(key, None)
        self._write(durable=True)

    def gone(self, key: str) -> None:
        """Note that the upload with which this process went on for `key` was completed or lost."""
        with self._lock:
            upload = self._current.pop(key, None)
        if upload is not None:
            self.ended(upload)

    def forsaken(self, key: str) -> None:
        """Note that nobody goes on with the upload of `key`; it stays parked, to be ended at success."""
        with self._lock:
            if (upload := self._current.pop(key, None)) is not None:
                self._forsaken.add(upload.upload_id)

    def ended(self, upload: ParkedUpload) -> None:
        """Note that an upload does not exist any more."""
        with self._lock:
            if self._parked.pop(upload.upload_id, None) is not None:
                self._pending.append(json.dumps({"gone": upload.upload_id}, separators=(",", ":")).encode("ascii"))

    def parked(self) -> tuple[ParkedUpload, ...]:
        """The uploads that were begun and not ended."""
        with self._lock:
            return tuple(self._parked.values())

    def _write(self, *, durable: bool) -> int:
        with self._writing, storage_errors(self.path):
            with self._lock:
                batch, self._pending = self._pending, []
            if self._closed:
                return 0
            data = memoryview(b"".join(line + b"\n" for line in batch))
            while data:
                data = data[os.write(self._fd, data) :]
            if durable or self._clock() - self._synced >= _FSYNC_EVERY:
                os.fsync(self._fd)
                self._synced = self._clock()
            return os.fstat(self._fd).st_size

    def _recall_uploads(self, path: Path) -> None:
        for line in whole_lines(path):
            if not line.startswith((b'{"upload"', b'{"gone"', b'{"asked"')):
                continue
            fields = _fields(line)
            try:
                if "gone" in fields:
                    self._parked.pop(fields["gone"], None)
                elif "asked" in fields:
                    self._asked.setdefault(fields["asked"], float(fields["since"]))
                else:
                    upload = ParkedUpload(**fields["upload"])
                    self._parked[upload.upload_id] = upload
                    self._asked.pop(upload.key, None)
            except (TypeError, KeyError, ValueError):
                continue


def _fields(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
