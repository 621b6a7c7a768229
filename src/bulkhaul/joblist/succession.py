"""What a claim takes over from the record before it (pure): its number, the facts, the count of deaths."""

from __future__ import annotations

from bulkhaul.joblist.heartbeat import Progress
from bulkhaul.joblist.job import Owner
from bulkhaul.joblist.ledger import End, Record, new_record

_MOST_DEATHS = 3


def claim_after(job: str, before: Record | None, owner: Owner, *, progress: Progress | None) -> Record:
    """The claim that `owner` may put after `before`, the newest record of a claimable job (None: it has none).

    `progress` is what the last heartbeat of a dead owner carried: newly sent files or bytes set the count of deaths
    back.
    """
    if before is None or before.end is not None:
        number = 1 if before is None else before.generation + 1
        facts = before.facts if before is not None and before.end is End.RELEASED else {}
        return new_record(job, number, owner, text=f"claimed by {owner} generation={number}", facts=facts)
    if progress is None or (progress.job, progress.generation) != (before.job, before.generation):
        deaths, last = before.deaths + 1, ""
    else:
        deaths = 0 if progress.files or progress.bytes else before.deaths + 1
        last = progress.last
    number = before.generation + 1
    return new_record(
        job,
        number,
        owner,
        text=f"taken over from {before.owner.worker} by {owner} generation={number}",
        facts={"last": last or before.facts.get("last", "")},
        deaths=deaths,
    )


def holder(record: Record | None) -> Owner | None:
    """Who holds the job whose newest record this is, alive or dead; None when nobody does."""
    return None if record is None or record.end is not None else record.owner


def is_open(record: Record | None) -> bool:
    """True for a job that is not settled: without a record, held, or given back."""
    return record is None or record.end in (None, End.RELEASED)


def is_deadly(record: Record) -> bool:
    """True when so many claims in a row ended without an end and without progress that the job itself is suspected."""
    return record.deaths >= _MOST_DEATHS
