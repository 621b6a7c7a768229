"""Records against a listing, in one pass over both (pure): what was promised stands in S3, or is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.location import S3Location
from bulkhaul.transfer.manifest import Outcome, Record, Verified
from bulkhaul.transfer.plan import Cursor, listed_order


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """An entry that is not in S3 as the manifest says, and why."""

    name: str
    reason: str


def verify(records: Iterable[Record], listing: Iterable[RemoteObject], *, location: S3Location) -> Iterator[Record]:
    """Yield each record as it is if S3 lists its object with its size and ETag, else as failed.

    The server has checked the CRC64NVME that travelled with the body, and its answer named the ETag: the same ETag in
    the listing is the same content. Both streams come in the order of the names' bytes.
    """
    for record, reason in _judged(records, listing, location):
        if reason is None:
            yield record
        else:
            yield record._replace(outcome=Outcome.FAILED, reason=reason, verified=Verified.NO)


def discrepancies(
    records: Iterable[Record], listing: Iterable[RemoteObject], *, location: S3Location
) -> Iterator[Discrepancy | Record]:
    """Yield a discrepancy for each record that failed or is not listed as it says, and each other record as it is."""
    for record, reason in _judged(records, listing, location):
        if record.outcome is Outcome.FAILED:
            yield Discrepancy(record.name, f"not transferred: {record.reason}")
        elif reason is not None:
            yield Discrepancy(record.name, reason)
        else:
            yield record


def _judged(
    records: Iterable[Record], listing: Iterable[RemoteObject], location: S3Location
) -> Iterator[tuple[Record, str | None]]:
    listed = Cursor(listing, listed_order(location))
    for record in records:
        remote = listed.at(record.order)
        if record.outcome is Outcome.SENT and not record.etag:
            yield record, "S3's answer had no ETag, so nothing proves it"
        else:
            yield record, _problem(record, remote) if record.in_s3 else None


def _problem(record: Record, remote: RemoteObject | None) -> str | None:
    if remote is None:
        return "S3 does not list it"
    if remote.size != record.size:
        return f"S3 lists {remote.size} bytes instead of {record.size}"
    if remote.etag != record.etag:
        return f"S3 lists the ETag {remote.etag} instead of {record.etag}"
    return None
