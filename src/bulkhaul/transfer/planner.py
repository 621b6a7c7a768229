"""The plan of one run in a thread of its own, ahead of those that send.

Tasks go to the backlog, Zarr's metadata and what is settled to spools, the rest to findings.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bulkhaul.sources.tree import walk
from bulkhaul.transfer.manifest import Outcome, Record
from bulkhaul.transfer.merging import earlier_records, holds_records
from bulkhaul.transfer.plan import Compare, Decision, Extra, Leave, Skip, Upload, plan
from bulkhaul.transfer.run import Run
from bulkhaul.transfer.spool import DeferredMetadata
from bulkhaul.transfer.zarr import StandingMetadata, is_metadata, withholds

_GATE_EVERY = 256  # decisions
_PAGE = 1000  # files whose objects fill a page of a listing
_NAMED = 5  # objects and entries of a kind that are named
_PATIENCE = 10.0  # seconds for a plan that hangs in a request when the run has ended
_SENT = (Upload, Compare)  # `Upload | Compare` would make a new type for each file


@dataclass(slots=True)
class Findings:
    """What a plan found beside the files: objects without a source, entries left out by policy, notes."""

    extra: int = 0
    first_extra: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    first_left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note_extra(self, name: str) -> None:
        """Count an object that the source lacks, and keep the first few names."""
        self.extra += 1
        if len(self.first_extra) < _NAMED:
            self.first_extra.append(name)

    def note_left_out(self, record: Record) -> None:
        """Count an entry that is not sent by policy, and keep the first few names."""
        self.left_out[record.reason] += 1
        if len(self.first_left_out) < _NAMED:
            self.first_left_out.append(record.name)


class Planner:
    """Plans the whole tree once. What it gathered is to be read when its tasks have come to their end."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._backlog = run.backlog()
        self.findings = Findings()
        self.cuts: list[str] = []
        self._on_page = 0
        self._whole = False  # all that is known stands in the final manifest
        self._known = self._kept = self._entries = 0
        self.settled = run.record_spool()
        self.marks = run.record_spool()
        self.metadata = DeferredMetadata(run.spool(), folder=run.workspace.scratch)

    @property
    def unchanged(self) -> bool:
        """Whether each entry has its record in the final manifest already, and nothing else has one there."""
        return self._whole and self._known == self._kept == self._entries

    @contextmanager
    def running(self) -> Iterator[Iterator[list[Upload | Compare]]]:
        """Plan while the block takes the tasks, by the batch; they end when the plan ends, or with the plan's error."""
        thread = threading.Thread(target=self._plan, name="planner", daemon=True)
        thread.start()
        try:
            yield self._backlog.batches()
        finally:
            self._backlog.cancel()
            thread.join(_PATIENCE)

    def _plan(self) -> None:
        try:
            self._plan_to_the_end()
        except BaseException as error:  # noqa: BLE001 - a thread hands whatever ended it to its reader
            self._backlog.end(error)
        else:
            self._backlog.end()

    def _plan_to_the_end(self) -> None:
        standing = StandingMetadata(self.marks.add)
        for number, decision in enumerate(self._decisions()):
            if number % _GATE_EVERY == 0:  # a plan that sends nothing makes no requests
                self._run.requests.gate()
            if not isinstance(decision, Extra):
                standing.see(decision.name, missing=_is_missing(decision))
                self._entries += 1
                self._kept += isinstance(decision, Skip) and decision.reason == "unchanged"
            self._carry_out(decision)
        if found := standing.end():
            self.findings.notes.append(found)
        self._run.tally.plan_ended()

    def _decisions(self) -> Iterator[Decision]:
        run, space = self._run, self._run.workspace
        partials = [path for path in (*space.earlier, space.partial) if holds_records(path)]
        self._whole = not partials
        earlier = earlier_records(space.manifest, partials, folder=space.scratch, note=self.findings.notes.append)
        level = run.options.sync_level
        known = self._counted(earlier)
        return plan(walk(run.source), run.listings.objects(), known, location=run.location, sync_level=level)

    def _counted(self, earlier: Iterator[Record]) -> Iterator[Record]:
        for record in earlier:
            self._known += 1
            yield record

    def _count_on_page(self, name: str) -> None:
        self._on_page += 1
        if self._on_page == _PAGE:
            self._on_page = 0
            self.cuts.append(self._run.location.key(name))

    def _carry_out(self, decision: Decision) -> None:
        if not isinstance(decision, Leave):
            self._count_on_page(decision.name)
        if isinstance(decision, Extra):
            self.findings.note_extra(decision.name)
        elif isinstance(decision, _SENT):
            self._run.tally.planned(decision.file.size)
            if is_metadata(decision.name):
                self.metadata.add(decision)
            else:
                self._backlog.put(decision)
        else:
            self._settle(decision.record)

    def _settle(self, record: Record) -> None:
        if record.outcome is Outcome.SKIPPED and not record.in_s3:
            self.findings.note_left_out(record)
        else:
            self._run.tally.planned(record.size)
            self._run.tally.settled(record)
        self.settled.add(record)


def _is_missing(decision: Upload | Compare | Skip | Leave) -> bool:
    """Whether S3 lacked, before this run, what readers of Zarr may take for fill value."""
    if isinstance(decision, Leave):
        # What is inside a folder that cannot be read is not known; it withholds the metadata above it anyway.
        return withholds(decision.record) and not decision.listed and not decision.name.endswith("/")
    return isinstance(decision, Upload) and decision.reason == "missing"
