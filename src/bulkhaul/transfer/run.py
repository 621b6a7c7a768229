"""What the stages of one run share: requests, two lanes of threads, the partial manifest, the count of what is done.

Small files go through many threads as pacing allows, large ones two at a time, so that a few large ones never keep the
many waiting. A context manager: on the way out threads end, and what they did is durable.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType

from bulkhaul.s3.connection import Connection
from bulkhaul.transfer.backlog import Backlog
from bulkhaul.transfer.journal import Journal
from bulkhaul.transfer.lanes import Halt, Lane
from bulkhaul.transfer.listings import Listings
from bulkhaul.transfer.pacing import Pacing, SharedPacing
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.progress import Tally
from bulkhaul.transfer.requests import Requests
from bulkhaul.transfer.small import is_new
from bulkhaul.transfer.spool import Spool
from bulkhaul.transfer.terms import Gate, Progress, TransferOptions, Workspace
from bulkhaul.transfer.upload import Sender

_LARGE_AT_ONCE = 2
_LARGE_QUEUED = 1_000


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
    ) -> None:
        self.source = source
        self.connection = connection
        self.location = connection.location
        self.options = options
        self.workspace = workspace
        self._spools = ExitStack()
        self.halt = Halt()
        self.tally = Tally(report)
        self._pacing = SharedPacing(Pacing(options.max_concurrency))
        self.requests = Requests(connection, self._gate_or_halt(gate), self._pacing.throttled)
        self.listings = Listings(self.requests, workspace.scratch)
        self.listings.sorted = not options.listing_in_order
        self.journal = Journal(workspace.partial, earlier=workspace.earlier)
        self._sender = self.sender(source, self.location.key)
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

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.halt.set(error)
        self._small.close()
        self._large.close()
        self._spools.close()
        self.journal.close()

    def spool(self) -> Spool:
        """A new scratch file that lives as long as this run."""
        return self._spools.enter_context(closing(Spool(self.workspace.scratch)))

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

    def send(self, task: Upload | Compare) -> None:
        """Queue a file; its record will be in the partial manifest. Waits while too much is in flight.

        Raises:
            BaseException: the fault that stopped the run.
        """
        if self._sender.in_parts(task.file):
            self._large.put(task)
        else:
            self._small.put(task, task.file.size)

    def drain(self) -> int:
        """Wait until all queued files have their records on disk; return the length of the partial manifest in bytes.

        Raises:
            BaseException: the fault that stopped the run.
        """
        self._small.drain()
        self._large.drain()
        return self.journal.flush()

    def _work(self, task: Upload | Compare) -> None:
        record = self._sender.send(task)
        self.journal.append(record)
        self.tally.settled(record, sent=is_new(record, task))

    def _gate_or_halt(self, gate: Gate) -> Gate:
        def both() -> None:
            self.halt.check()
            gate()

        return both
