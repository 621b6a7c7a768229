"""How the workers of one joblist come to send no more together than they may: a thread that tells and reads the news.

It works only while a dataset is being sent, and only where the joblist has limits or S3 has refused something: one
small read and one small write, ten seconds apart, or two while the parts are being found. What follows from the news is
decided in `transfer.sharing`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf

from bulkhaul.errors import StorageError
from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.noticeboard import Noticeboard
from bulkhaul.s3.connection import Connection
from bulkhaul.transfer.limits import UNLIMITED, Limits
from bulkhaul.transfer.sharing import Member, decode
from bulkhaul.transfer.terms import TransferOptions

_LOG = logging.getLogger(__name__)

_UNKNOWN = 10  # looks for each ordinary one, until the others know of us
_UNSETTLED = 5  # the same, until we have been granted something and the parts of S3's rate have been found
_LONGEST_STOP = 5.0  # seconds


class Agreement:
    """One worker's limits, `limits`, kept in agreement with the other workers of `joblist`; a context manager.

    The news are half a heartbeat apart. A worker whose line stays the same for a third of the lease counts as dead, and
    stops using its part of the joblist's limits after two thirds of that time without an exchange of its own.
    """

    def __init__(
        self,
        joblist: Joblist,
        options: TransferOptions,
        lease: LeaseTimes,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._every = lease.heartbeat / 2
        self._silence = max(lease.ttl / 3, 4 * self._every)
        self._clock = clock
        self._board = Noticeboard(joblist.state_path("rates"), silence=self._silence, clock=clock)
        self._member = Member(options.joblist_limits)
        self._strict = options.joblist_limits != UNLIMITED
        self.limits = Limits(options.worker_limits, part=self._member.nothing(), clock=clock)
        self.limits.on_refusal = self._begin
        self._sending = self._needed = False
        self._sent_until = -inf
        self._joined = self._known = False
        self._agreed_at = -inf
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Agreement:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._wake.set()
        if self._thread is not None:
            # A thread that hangs in a file system that hangs must not keep the worker from its exit.
            self._thread.join(timeout=_LONGEST_STOP)

    @contextmanager
    def sending_to(self, connection: Connection) -> Iterator[None]:
        """Take part while the block sends to the connection's bucket."""
        with self.limits.held() as (limiter, _now):
            self._member.move(limiter, _label(connection))
            self._needed = self._strict or limiter.cap.known
        self._sending = True
        if self._needed or self._others_were_refused():
            self._begin()
        try:
            yield
        finally:
            self._sent_until = self._clock()
            self._sending = False

    def _begin(self) -> None:
        """Exchange news at once, and go on with it."""
        self._needed = True
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bulkhaul-agreement", daemon=True)
                self._thread.start()
        self._wake.set()

    def _others_were_refused(self) -> bool:
        try:
            news = self._board.read()
        except StorageError as error:
            _LOG.debug("the rates of other workers: %s", error)
            return False
        entries = [entry for text in news if (entry := decode(text)) is not None]
        with self.limits.held() as (limiter, now):
            return self._member.begin(limiter, now, entries)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                if self._takes_part():
                    self._ended.wait(self._exchange())
                else:
                    self._leave()
                    self._wake.wait()
                    self._wake.clear()
            self._leave()
        except BaseException as error:  # noqa: BLE001 - whoever waits for a part must hear of it
            self.limits.refuse(error)

    def _takes_part(self) -> bool:
        # The next dataset follows within moments: no reason to leave and come back.
        return self._needed and (self._sending or self._clock() - self._sent_until < self._every)

    def _exchange(self) -> float:
        """Tell and read the news; the seconds until the next time."""
        now = self._clock()
        if not self._joined:
            self._joined, self._agreed_at = True, now
        try:
            self._board.exchange(self._turn)
        except StorageError as error:
            _LOG.warning("the joblist's rates: %s", error)
            self._missed(error)
            return self._every
        if not self._known:
            step = "run `bulkhaul doctor` there, or do without the joblist's limits"
            self._missed(StorageError(self._board.path, "what this worker writes does not stay there", step))
            return pause(self._every, known=False, unsettled=True)
        self._agreed_at = now
        self.limits.refuse(None)
        return pause(self._every, known=True, unsettled=self._member.unsettled)

    def _turn(self, others: Sequence[str], known: bool) -> str:
        entries = [entry for text in others if (entry := decode(text)) is not None]
        with self.limits.held() as (limiter, now):
            entry = self._member.turn(limiter, now, entries, known=known, until=now + 2 / 3 * self._silence)
        self._known = known
        return entry.encode()

    def _missed(self, fault: StorageError) -> None:
        """Without news for so long, whoever waits for its part of the joblist's limits would wait for ever."""
        if self._strict and self._clock() - self._agreed_at > self._silence:
            self.limits.refuse(fault)

    def _leave(self) -> None:
        if not self._joined:
            return
        self._joined = False
        with self.limits.held() as (limiter, _now):
            self._member.leave(limiter)
        try:
            self._board.withdraw()
        except StorageError as error:
            _LOG.debug("the joblist's rates: %s", error)


def pause(every: float, *, known: bool, unsettled: bool, draw: Callable[[], float] = random.random) -> float:
    """Seconds from one exchange to the next, in the mean a little over `every`.

    It is sooner while the others do not know of us, and while the parts of all are being found.
    """
    if not known:
        return every / _UNKNOWN
    return every / _UNSETTLED if unsettled else every * (1 + draw() / 10)


def _label(connection: Connection) -> str:
    """A short name of the bucket, the same for all workers."""
    return f"{zlib.crc32(f'{connection.endpoint} {connection.location.bucket}'.encode()):08x}"
