"""Large files in parts, resumable across workers and processes.

The upload's id is in a journal before its first part is sent. A successor asks S3 for the parts, compares each with the
file as it is now, and sends only what is missing. The whole is completed with an explicit list of parts and the
CRC64NVME of all bytes; where the answer is lost, or says success and means an error, the object itself decides. Nothing
here aborts an upload: its parts are parked for the next worker until the caller says otherwise.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Protocol

from bulkhaul.errors import IntegrityFailed, Transient, UploadGone
from bulkhaul.s3.checksums import combine_crc64nvme, encode_crc64nvme, multipart_etag
from bulkhaul.s3.engine import Repeat, once
from bulkhaul.s3.parts import MOST_PARTS, OpenFile, Span, part_size_for, spans_of
from bulkhaul.s3.retry import Gate, open_gate
from bulkhaul.s3.uploading import ObjectRequests, Part, StoredPart, Upload, Whole

_LOOK = 0.5  # seconds between two looks at the gate while parts are under way
_GRACE = 8.0  # seconds that parts in flight get to end after a fault or a stop
_MD5 = re.compile(r"[0-9a-f]{32}")


class UploadJournal(Protocol):
    """Where uploads that were begun are remembered across processes."""

    def find(self, key: str, *, size: int, mtime_ns: int, ctime_ns: int) -> tuple[str, int] | None:
        """Upload id and part size in bytes of an upload begun for this very version of the file."""
        ...

    def beginning(self, key: str) -> None:
        """Note that a new upload is about to be asked for: until `begun` one may stand whose id nobody knows."""
        ...

    def unanswered(self, key: str) -> None:
        """Note that one whose id nobody knows may stand beside the one that is begun."""
        ...

    def begun(self, key: str, upload_id: str, part_size: int, size: int, mtime_ns: int, ctime_ns: int) -> None:
        """Note a new upload, durably."""
        ...

    def gone(self, key: str) -> None:
        """Note that the key has no upload any more."""
        ...

    def forsaken(self, key: str) -> None:
        """Note that nobody goes on with the key's upload, though it may stand: `find` gives it no more."""
        ...


@dataclass(frozen=True, slots=True)
class LargeResult:
    """An object that stands: ETag without quotes, CRC64NVME in base64, and how its parts came there."""

    etag: str
    crc64nvme: str
    parts_sent: int
    parts_adopted: int


def upload_large(
    client: Any,
    bucket: str,
    key: str,
    file: OpenFile,
    *,
    part_size: int,
    journal: UploadJournal,
    repeat: Repeat,
    gate: Gate,
    on_bytes: Callable[[int], None],
    threads: int = 4,
    checksums: bool = True,
) -> LargeResult:
    """Bring `file`, which stays open meanwhile, under `key`, and return when S3 has proven that it is whole.

    `part_size` in bytes grows where S3's limits ask for it. `on_bytes` is called from the calling thread with the bytes
    of each part that is there, and with their negative sum when they have to be sent anew. `checksums` false is the
    mode for a server that compares no CRC64NVME: the MD5 in the ETags proves parts and whole.

    Raises:
        SourceChanged: the file was written to on the way.
        OSError: the file cannot be read.
        ObjectRefused: it is larger than S3 takes.
        S3Error: what no repetition cured; the parts that are there stay for the next attempt.
        Stopped, ClaimLost: from `gate`; likewise.
    """
    part_size = part_size_for(file.size, part_size, thing=file.path)
    requests = ObjectRequests(client, bucket, key, repeat, gate, checksums)
    try:
        return _upload(requests, file, part_size, journal, on_bytes, threads)
    except UploadGone as error:
        # Only NoSuchUpload says that it is gone; one with an odd part stands, and stays noted to be ended later.
        (journal.gone if error.code == "NoSuchUpload" else journal.forsaken)(key)
    return _upload(requests, file, part_size, journal, on_bytes, threads)


def abort_upload(client: Any, bucket: str, key: str, upload_id: str, *, repeat: Repeat = once) -> None:
    """Give up an upload with all its parts; only the newest generation of the job may. One that is gone is fine.

    Raises:
        S3Error: it still stands, and its parts cost money.
    """
    requests = ObjectRequests(client, bucket, key, repeat, open_gate, checksums=False)
    try:
        requests.make("abort_multipart_upload", UploadId=upload_id)
    except UploadGone:
        return


def _upload(
    requests: ObjectRequests,
    file: OpenFile,
    part_size: int,
    journal: UploadJournal,
    on_bytes: Callable[[int], None],
    threads: int,
) -> LargeResult:
    upload, part_size, stored = _found_or_begun(requests, file, part_size, journal)
    # What is missing goes first: a worker that is stopped soon leaves parts behind, not comparisons.
    spans = sorted(spans_of(file.size, part_size), key=lambda span: (span.number in stored, span.number))
    parts = _bring_all(upload, [(span, stored.get(span.number)) for span in spans], threads, on_bytes)
    file.check_unchanged()
    crc = 0
    for part in parts:
        crc = combine_crc64nvme(crc, part.crc, second_bytes=part.span.length)
    try:
        whole = complete(requests, upload.upload_id, parts, crc=crc, size=file.size)
    except UploadGone:
        on_bytes(-file.size)
        raise
    journal.gone(requests.key)
    adopted = sum(part.adopted for part in parts)
    return LargeResult(whole.etag, encode_crc64nvme(crc), len(parts) - adopted, adopted)


def _found_or_begun(
    requests: ObjectRequests, file: OpenFile, part_size: int, journal: UploadJournal
) -> tuple[Upload, int, dict[int, StoredPart]]:
    """The upload to go on with, its part size, and the parts that S3 has of it."""
    found = journal.find(requests.key, size=file.size, mtime_ns=file.mtime_ns, ctime_ns=file.ctime_ns)
    if found is not None and file.size <= found[1] * MOST_PARTS:
        upload = Upload(requests, found[0], file)
        return upload, found[1], upload.stored_parts()
    journal.beginning(requests.key)
    upload = Upload(requests, requests.create(lambda: journal.unanswered(requests.key)), file)
    journal.begun(requests.key, upload.upload_id, part_size, file.size, file.mtime_ns, file.ctime_ns)
    return upload, part_size, {}


def _bring_all(
    upload: Upload, work: list[tuple[Span, StoredPart | None]], threads: int, on_bytes: Callable[[int], None]
) -> list[Part]:
    """Each part of `work` in S3, in the order of their numbers; after a fault those under way get a while to end."""
    left, results = deque(work), SimpleQueue[Part | BaseException]()
    pool = _start_threads(upload, left, results, count=min(threads, len(work)))
    parts: list[Part] = []
    try:
        while len(parts) < len(work):
            parts.append(_next_part(results, upload.requests.gate))
            on_bytes(parts[-1].span.length)
            upload.file.check_unchanged()  # or the rest of a file that is written to would go out for nothing
    except BaseException as error:
        left.clear()
        deadline = time.monotonic() + _GRACE
        for thread in pool:
            thread.join(max(0.0, deadline - time.monotonic()))
        if isinstance(error, UploadGone):
            on_bytes(-sum(part.span.length for part in parts))
        raise
    return sorted(parts, key=lambda part: part.span.number)


def _start_threads(
    upload: Upload,
    left: deque[tuple[Span, StoredPart | None]],
    results: SimpleQueue[Part | BaseException],
    *,
    count: int,
) -> list[Thread]:
    # Daemons of our own: the threads of concurrent.futures would keep a stopped process alive until their last part.
    def bring_parts() -> None:
        while left:
            try:
                span, stored = left.popleft()
            except IndexError:
                return  # another thread was faster
            try:
                results.put(upload.bring(span, stored))
            except BaseException as error:  # noqa: BLE001 - a thread hands whatever ended it to the caller
                results.put(error)

    pool = [Thread(target=bring_parts, name=f"part-{number}", daemon=True) for number in range(count)]
    for thread in pool:
        thread.start()
    return pool


def _next_part(results: SimpleQueue[Part | BaseException], gate: Gate) -> Part:
    """The next part that is there; looks at the gate while it waits, since threads that hang in requests cannot."""
    while True:
        try:
            result = results.get(timeout=_LOOK)
        except Empty:
            gate()
            continue
        if isinstance(result, BaseException):
            raise result
        return result


def complete(requests: ObjectRequests, upload_id: str, parts: list[Part], *, crc: int, size: int) -> Whole:
    """Put the parts together and return an object that is proven to hold what was read: `crc` of `size` bytes.

    Raises:
        IntegrityFailed: S3 does not prove it.
        S3Error: what no repetition cured.
    """
    etag = _expected_etag(parts)
    proof = crc if requests.checksums else None
    try:
        whole = requests.complete(upload_id, parts, crc)
    except (Transient, UploadGone):
        # The answer was lost, or an earlier attempt whose answer was lost has used the upload up: the object decides.
        found = requests.head()
        if found is None or not found.proves(size=size, crc=proof, etag=etag):
            raise
        return found
    if not whole.proves(size=size, crc=proof, etag=etag):
        asked = requests.head()
        if asked is None or not asked.proves(size=size, crc=proof, etag=etag):
            reason = "S3 does not prove that the whole object is what was sent"
            raise IntegrityFailed(requests.thing, reason, "see what `bulkhaul check` says of the server")
        return asked
    return whole


def _expected_etag(parts: list[Part]) -> str | None:
    etags = [part.etag.lower() for part in parts]
    return multipart_etag(etags) if all(map(_MD5.fullmatch, etags)) else None
