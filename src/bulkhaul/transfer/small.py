"""What becomes of a small file whose bytes are in memory: proven to be there, or put; the same in every process."""

from __future__ import annotations

from collections.abc import Callable

from bulkhaul.errors import IntegrityFailed
from bulkhaul.s3.checksums import MD5_STEP, crc64nvme, encode_crc64nvme, md5_hex
from bulkhaul.sources.tree import LocalFile
from bulkhaul.transfer.compare import Likeness, same_slices
from bulkhaul.transfer.manifest import Outcome, Record, Verified, skipped
from bulkhaul.transfer.plan import Compare, Upload


def settle_small(
    task: Upload | Compare,
    file: LocalFile,
    body: bytes,
    *,
    part_size: int,
    put: Callable[[str, bytes, str], str],
    stored_crc: Callable[[str], str | None],
    checksums: bool = True,
) -> Record:
    """The record of `file`, all of whose bytes are `body`: of the object that is the same, or of the one put now.

    `put` gets name, body and CRC64NVME and returns the ETag; `stored_crc` asks S3 for the checksum kept with a key.
    `checksums` false: the server compares no CRC64NVME, the MD5 in its ETag has to prove the body.

    Raises:
        IntegrityFailed: that ETag is not the MD5 of the body.
        S3Error: from `put` or `stored_crc`.
    """
    if isinstance(task, Compare) and file.size == task.remote.size:
        remote = task.remote
        same = same_slices([body], remote, part_size=part_size, stored_crc=lambda: stored_crc(remote.key))
        if same is not None:
            return same_record(task, file, same)
    crc = encode_crc64nvme(crc64nvme(body))
    etag = put(task.name, body, crc)
    if not checksums and etag.lower() != md5_hex(body):
        raise IntegrityFailed(task.name, "S3's ETag is not the MD5 of what was sent", MD5_STEP)
    return sent_record(file, etag, crc, checksums=checksums)


def sent_record(file: LocalFile, etag: str, crc: str, *, checksums: bool) -> Record:
    """The record of a file that has been sent and proven, by the server's check or (`checksums` false) by its ETag."""
    return Record(
        name=file.name,
        outcome=Outcome.SENT,
        size=file.size,
        mtime_ns=file.mtime_ns,
        ctime_ns=file.ctime_ns,
        etag=etag,
        crc64nvme=crc,
        verified=Verified.PUT if checksums else Verified.MD5,
    )


def same_record(task: Compare, file: LocalFile, likeness: Likeness) -> Record:
    """The record of a file whose content S3 has already."""
    # An earlier record that agrees is carried over as it is, so that the manifest stays the same too.
    if task.record is not None and task.record.describes(file):
        return task.record
    etag, verified = task.remote.etag, likeness.verified
    return skipped(file, "same content", etag=etag, verified=verified, crc64nvme=likeness.crc64nvme)


def is_new(record: Record, task: Upload | Compare) -> bool:
    """Whether the record tells of a body that was sent for this very task."""
    carried_over = isinstance(task, Compare) and record is task.record
    return record.outcome is Outcome.SENT and not carried_over
