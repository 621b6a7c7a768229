"""The stages of a run: chunks as the plan finds them, then Zarr's metadata, each verified by a listing.

Records flow one way. What the plan settles goes to a spool, in order; what threads send goes to the partial manifest,
in any order. Both merge into the records of the stage, sorted, and the next stage begins from those: each entry of the
tree is in each stage's records once, and memory does not grow with their number.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, tee
from operator import attrgetter, itemgetter

from bulkhaul.errors import ListingOutOfOrder, SourceError
from bulkhaul.transfer.manifest import Record, failed
from bulkhaul.transfer.merging import read_partial, sorted_partial
from bulkhaul.transfer.planner import Findings, Planner
from bulkhaul.transfer.run import Run
from bulkhaul.transfer.spool import DeferredMetadata, RecordSpool
from bulkhaul.transfer.verify import verify
from bulkhaul.transfer.zarr import Withheld

_LOG = logging.getLogger(__name__)

_LOOK = 0.5  # seconds between two looks at the gate in a pause

Records = Callable[[], Iterator[Record]]
"""The records of a stage by name, each time from the start."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The end of the first stage; `marks` are what the manifest has to say of Zarr metadata besides.

    `cuts` are keys that part the dataset into pages of a listing; `unchanged`: the final manifest holds all of it.
    """

    records: Records
    cuts: Sequence[str]
    metadata: DeferredMetadata
    marks: RecordSpool
    findings: Findings
    unchanged: bool


def send_chunks(run: Run) -> Planned:
    """Plan the whole tree and send all that is not Zarr metadata; the records are verified if anything was sent.

    Raises:
        SourceError: the dataset is missing or holds no file.
        BulkhaulError: whatever stopped the run.
    """
    sent_before = run.tally.files_sent
    try:
        planned = _plan_and_send(run)
    except ListingOutOfOrder:
        if run.listings.sorted:
            raise
        # What was decided may be wrong, what was sent is not: nothing but the sent records outlives this.
        _LOG.debug("the listing is not in byte order; planning again through a sorted spill")
        run.drain()
        run.listings.sorted = True
        run.tally.restart()
        planned = _plan_and_send(run)
    if run.tally.files_sent == sent_before:
        return planned
    return replace(planned, records=_verified(run, planned.records, planned.cuts))


def send_metadata(run: Run, planned: Planned) -> Records:
    """Send Zarr's metadata, deepest first, a level only when the one below has arrived; verify if anything was sent.

    Raises:
        BulkhaulError: whatever stopped the run.
    """
    if not planned.metadata.count:
        return planned.records
    run.tally.enter("metadata")
    sent_before = run.tally.files_sent
    withheld = Withheld()
    for record in planned.records():
        withheld.note(record)
    start = here = run.drain()
    for _, tasks in groupby(planned.metadata.tasks(), key=itemgetter(0)):
        for _, task in tasks:
            reason = withheld.reason(task.name)
            if reason is None:
                run.send([task])
            else:
                record = failed(task.file, reason)
                run.journal.append(record)
                run.tally.settled(record)
        before, here = here, run.drain()
        for record in read_partial(run.workspace.partial, start=before, end=here):
            withheld.note(record)
    records = _merged(run, planned.records, start, here)
    return records if run.tally.files_sent == sent_before else _verified(run, records, planned.cuts)


def _plan_and_send(run: Run) -> Planned:
    start = run.journal.flush()
    run.tally.enter("plan")
    planner = Planner(run)
    with planner.running() as batches:
        for number, batch in enumerate(batches):
            if number == 0:
                run.tally.enter("upload")
            run.send(batch)
    if not run.tally.files_planned:
        raise SourceError(run.source, "the dataset holds no file", "check the path, or remove the job")
    end = run.drain()
    records = _merged(run, planner.settled.records, start, end)
    return Planned(records, planner.cuts, planner.metadata, planner.marks, planner.findings, planner.unchanged)


def _merged(run: Run, settled: Records, start: int, end: int) -> Records:
    """The records of a spool and those of a stretch of the partial manifest, together by name."""

    def merged() -> Iterator[Record]:
        sent = sorted_partial(run.workspace.partial, start=start, end=end, folder=run.workspace.scratch)
        return heapq.merge(settled(), sent, key=attrgetter("order"))

    return merged


def _verified(run: Run, records: Records, cuts: Sequence[str]) -> Records:
    """The records after a fresh listing has been held against them; again where the listing may lag behind the puts."""
    run.tally.enter("verify")
    pause, left = 1.0, run.options.listing_lag
    while True:
        try:
            judged, wrong = _verify_once(run, records, cuts)
        except ListingOutOfOrder:
            if run.listings.sorted:
                raise
            run.listings.sorted = True
            continue
        if not wrong or left <= 0:
            return judged
        _LOG.debug("%d object(s) are not listed as they were put; again in %g s", wrong, pause)
        _wait(run, min(pause, left))
        pause, left = 2 * pause, left - pause


def _wait(run: Run, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        run.requests.gate()
        time.sleep(min(left, _LOOK))


def _verify_once(run: Run, records: Records, cuts: Sequence[str]) -> tuple[Records, int]:
    """The records as one listing proves them, and how many of them it does not."""
    spool, wrong = run.record_spool(), 0
    told, originals = tee(records())
    for record, original in zip(
        verify(told, run.listings.objects(cuts), location=run.location), originals, strict=True
    ):
        spool.add(record)
        wrong += record is not original
    return spool.records, wrong
