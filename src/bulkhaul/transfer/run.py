"""What the stages of one run share: requests, the lanes, the partial manifest, the count of what is done.

Small files go through many threads as pacing allows, or through sender processes where there are many; large ones go
two at a time, so that a few never keep the many waiting. A context manager: on the way out threads end, and what they
did is durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType

from bulkhaul.s3.connection import Connection
from bulkhaul.s3.retry import pause_by
from bulkhaul.transfer.backlog import Backlog
from bulkhaul.transfer.journal import Journal
from bulkhaul.transfer.lanes import GRACE, Halt, Lane
from bulkhaul.transfer.limits import Limits
from bulkhaul.transfer.listings import Listings
from bulkhaul.transfer.pacing import Pacing, SharedPacing
from bulkhaul.transfer.passes import Passes
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.process_lane import ProcessLane, Rules
from bulkhaul.transfer.progress import Tally
from bulkhaul.transfer.requests import Requests
from bulkhaul.transfer.senders import Senders
from bulkhaul.transfer.small import is_new
from bulkhaul.transfer.spool import RecordSpool, Spool
from bulkhaul.transfer.terms import Gate, Progress, TransferOptions, Workspace
from bulkhaul.transfer.upload import FaultMayPass, Sender
from bulkhaul.transfer.wire import Begin, Settled

_LARGE_AT_ONCE = 2
_LARGE_QUEUED = 1_000
_EACH = 24  # requests of a sender at the beginning: with 8 it takes a tenth longer, with 64 a third
_EACH_BYTES = 8 << 20  # and what they may carry: of larger files a few fill a core


class Run:
    """One run over one dataset; `send` and `drain` belong to one thread, that of the stages."""

    def __init__(
        self,
        source: Path,
        connection: Connection,
        *,
        options: TransferOptions,
        workspace: Workspace,
        gate: Gate,
        report: Callable[[Progress], None],
        senders: Senders,
        limits: Limits | None = None,
    ) -> None:
        self.source = source
        self.connection = connection
        self.location = connection.location
        self.options = options
        self.workspace = workspace
        self._spools = ExitStack()
        self.halt = Halt()
        self.tally = Tally(report)
        limits = limits or Limits(options.worker_limits)
        self._pacing = SharedPacing(Pacing(options.max_concurrency), held_back=lambda: limits.held_back)
        self.requests = Requests(connection, self._gate_or_halt(gate), limits, options.retry)
        self.listings = Listings(self.requests, workspace.scratch, answered=self._pacing.expect)
        self.listings.sorted = not options.listing_in_order
        self.journal = Journal(workspace.partial, earlier=workspace.earlier)
        self._sender = self.sender(source, self.location.key)
        self._passes = Passes(self.spool)
        self._small: Lane[Upload | Compare] = Lane(
            self._work,
            halt=self.halt,
            limit=self._pacing.limit,
            queue=2 * options.max_concurrency,
            budget=options.memory_budget,
            gate=self.requests.gate,
        )
        self._large: Lane[Upload | Compare] = Lane(
            self._work,
            halt=self.halt,
            limit=lambda: _LARGE_AT_ONCE,
            queue=_LARGE_QUEUED,
            gate=self.requests.gate,
        )
        self._processes = self._process_lane(senders) if connection.across_processes else None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.halt.set(error)
        until = time.monotonic() + GRACE
        with ExitStack() as ends:  # whatever fails at the end, what was done becomes durable
            ends.callback(self.journal.close)
            ends.callback(self._spools.close)
            for lane in (self._small, self._large):
                lane.close(until=0.0)  # all of them end at the same time
                ends.callback(lane.close, until=until)
            if self._processes is not None:
                self._processes.close(until=until)

    def spool(self) -> Spool:
        """A new scratch file of lines that lives as long as this run."""
        return self._spools.enter_context(closing(Spool(self.workspace.scratch)))

    def record_spool(self) -> RecordSpool:
        """A new scratch file of records that lives as long as this run."""
        return self._spools.enter_context(closing(RecordSpool(self.workspace.scratch)))

    def backlog(self) -> Backlog:
        """A new queue on disk that lives as long as this run."""
        return self._spools.enter_context(closing(Backlog(self.workspace.scratch, gate=self.requests.gate)))

    def sender(self, source: Path, key_of: Callable[[str], str]) -> Sender:
        """A sender of files of `source` under keys of one's own choice, within this run's limits."""
        return Sender(
            source=source,
            key_of=key_of,
            connection=self.connection,
            options=self.options,
            requests=self.requests,
            journal=self.journal,
            pacing=self._pacing,
            moved=self.tally.moved,
        )

    def send(self, tasks: Sequence[Upload | Compare]) -> None:
        """Queue files; their records will be in the partial manifest. Waits while too much is in flight.

        Raises:
            BaseException: the fault that stopped the run.
        """
        small = [task for task in tasks if not self._sender.in_parts(task.file)]
        if small and self._processes is not None and self._through_processes(self._processes, small):
            self._processes.put(small)
        else:
            for task in small:
                self._small.put(task, task.file.size)
        for task in tasks:
            if self._sender.in_parts(task.file):
                self._large.put(task)

    def drain(self) -> int:
        """Wait until all queued files have their records on disk; return the length of the partial manifest in bytes.

        Those that were set aside are sent again first, after a pause.

        Raises:
            BaseException: the fault that stopped the run.
        """
        self._drain_lanes()
        while tasks := self._passes.next():
            pause_by(self.options.retry, gate=self.requests.gate)
            for task in tasks:
                self.send([task])
            self._drain_lanes()
        return self.journal.flush()

    def _drain_lanes(self) -> None:
        if self._processes is not None:
            self._processes.drain()  # what it hands back is in the small lane by then
        self._small.drain()
        self._large.drain()

    def _work(self, task: Upload | Compare) -> None:
        try:
            record = self._sender.deliver(task, again=self._passes.again)
        except FaultMayPass as fault:
            if self._passes.set_aside(task):
                return
            record = fault.record
        self.journal.append(record)
        self.tally.settled(record, sent=is_new(record, task))

    def _through_processes(self, processes: ProcessLane, tasks: Sequence[Upload | Compare]) -> bool:
        # A process knows no limits. One that had files when S3 first refused something hands them back.
        if self.requests.limits.active or not (alive := processes.open(expecting=len(tasks))):
            return False
        mean = sum(task.file.size for task in tasks) // len(tasks)
        self._pacing.begin_with(alive * min(_EACH, _EACH_BYTES // max(1, mean)))
        return True

    def _process_lane(self, senders: Senders) -> ProcessLane:
        connection, limits = self.connection, self.requests.limits
        begin = Begin(
            self.source,
            self.location,
            connection.endpoint,
            connection.options,
            part_size=self.options.part_size,
            checksums=self.options.checksums,
        )
        rules = Rules(
            begin,
            # What came back from a process and what the processes send share one limit, unless it waits for a rate.
            limit=lambda: max(0, self._pacing.limit() - (0 if limits.active else self._small.pending)),
            token=self.requests.token,
            gate=self.requests.gate,
            settled=self._settled_elsewhere,
            returned=lambda task: self._small.put(task, task.file.size),
            halt=self.halt,
            budget=self.options.memory_budget,
            most_at_once=self.options.max_concurrency,
        )
        return ProcessLane(senders, rules)

    def _settled_elsewhere(self, tasks: Sequence[Upload | Compare], report: Settled) -> None:
        self.journal.extend([line for _, line, _ in report.records])
        if report.records:
            self._sender.storm.over()
        news = [new for _, _, new in report.records]
        self.tally.settled_elsewhere([(task.file, new) for task, new in zip(tasks, news, strict=True)])
        if report.requests:
            self._pacing.finished(report.requests, seconds=report.seconds, nbytes=report.nbytes)
        if report.throttled and not self.requests.limits.active:
            # Only the first: what a process had in flight by then was sent without regard to the rate.
            self.requests.limits.throttled()

    def _gate_or_halt(self, gate: Gate) -> Gate:
        def both() -> None:
            self.halt.check()
            gate()

        return both
