"""A process that sends small files for its worker: reads, compares and puts, in an interpreter of its own.

It does the plain case alone. A file that is not what the plan saw, or whose request fails, goes back to the worker,
which has the rules for all else. It ends with its worker, at the end of its input, and sends nothing while the worker
gives no sign: a worker that is stopped or has lost its claim sends no more, and so must what sends for it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress

from bulkhaul.errors import BulkhaulError, Throttled
from bulkhaul.garbage import collect_rarely
from bulkhaul.s3.obstore_puts import ObstorePuts
from bulkhaul.s3.token import Token
from bulkhaul.transfer.lanes import Halt, Lane
from bulkhaul.transfer.manifest import Record, encode
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.reading import read_as_planned
from bulkhaul.transfer.small import is_new, settle_small
from bulkhaul.transfer.spool import decode_batch
from bulkhaul.transfer.wire import Begin, Channel, Files, Finish, Finished, Pulse, Settled

STALE = 2.0
"""Seconds without a pulse after which nothing more is sent; a pulse comes each half second."""

_REPORT_AT = 32  # files
_REPORT_EVERY = 0.02  # seconds
_UNBOUNDED = sys.maxsize  # the worker bounds what it gives

Numbered = tuple[int, Upload | Compare]


class _HandBack(BulkhaulError):
    """The worker must see to this file."""


def _hand_back(task: str, reason: str) -> _HandBack:
    return _HandBack(task, reason, "the worker sends it")


class _Dataset:
    """The files of one dataset on their way, and what has become of them since the last report."""

    def __init__(self, begin: Begin, channel: Channel) -> None:
        self._begin = begin
        self._channel = channel
        self._pulse: Pulse | None = None
        self._beat = threading.Condition()
        self._beaten_at = 0.0
        self._halt = Halt()
        self._lane: Lane[Numbered] = Lane(self._work, halt=self._halt, limit=self._limit, queue=_UNBOUNDED)
        self._puts = ObstorePuts(
            begin.location.bucket, token=self._token, endpoint=begin.endpoint, options=begin.options
        )
        self._lock = threading.Lock()
        self._report = Settled()
        self._reported_at = time.monotonic()
        self._taken = self._settled = 0
        self._refused = False
        self._finished = False

    def take(self, files: Files) -> None:
        """Queue files."""
        tasks = list(enumerate(decode_batch(files.batch), files.first))
        self._taken += len(tasks)
        self._lane.extend(tasks)

    def beat(self, pulse: Pulse) -> None:
        """The worker lives: go on, within a new limit.

        Raises:
            BaseException: the error that ended a thread; there is no rule for it here.
        """
        if self._halt.error is not None:
            raise self._halt.error
        with self._beat:
            self._pulse, self._beaten_at = pulse, pulse.at
            self._beat.notify_all()
        self._lane.limit_changed()
        self._send_report(always=True)

    def finish(self) -> None:
        """Drop what is queued, wait for what is in flight, report all of it."""
        self._halt.set(_hand_back("dataset", "it has ended"))
        with self._beat:
            self._beat.notify_all()
        self._lane.close()
        self._send_report()
        with self._lock:
            self._finished = True

    def _limit(self) -> int:
        return self._pulse.limit if self._pulse else 0

    def _token(self) -> Token:
        assert self._pulse is not None, "nothing is sent before the first pulse"
        return self._pulse.token

    def _work(self, item: Numbered) -> None:
        number, task = item
        if self._refused:
            self._note(returned=number)
            return
        self._wait_for_a_sign()
        try:
            record = self._settle(task)
        except BulkhaulError as error:
            # Whoever knows no rate sends nothing more once there is one.
            throttled = isinstance(error, Throttled)
            if throttled:
                self._refused = True
            self._note(returned=number, throttled=throttled)
        else:
            self._note(record=(number, encode(record), is_new(record, task)))

    def _wait_for_a_sign(self) -> None:
        if time.monotonic() - self._beaten_at < STALE:
            return
        with self._beat:
            while time.monotonic() - self._beaten_at >= STALE:
                self._halt.check()
                self._beat.wait(STALE)

    def _settle(self, task: Upload | Compare) -> Record:
        body = read_as_planned(self._begin.source, task.file)
        if body is None:
            raise _hand_back(task.name, "is another version by now")
        return settle_small(
            task,
            task.file,
            body,
            part_size=self._begin.part_size,
            put=self._put,
            stored_crc=self._no_request,
            checksums=self._begin.checksums,
        )

    def _put(self, name: str, body: bytes, _crc: str) -> str:
        self._wait_for_a_sign()  # reading may have taken its time
        begun = time.monotonic()
        etag = self._puts.put(self._begin.location.key(name), body)
        seconds = time.monotonic() - begun
        with self._lock:
            self._report.requests += 1
            self._report.nbytes += len(body)
            self._report.seconds += seconds
        return etag

    def _no_request(self, key: str) -> str | None:
        raise _hand_back(key, "S3 has to be asked for its checksum")

    def _note(
        self, *, record: tuple[int, bytes, bool] | None = None, returned: int | None = None, throttled: bool = False
    ) -> None:
        with self._lock:
            if record is not None:
                self._report.records.append(record)
            if returned is not None:
                self._report.returned.append(returned)
            self._report.throttled |= throttled
            self._settled += 1
            # Whoever settles the last file reports: the worker waits for it, and the next pulse is half a second away.
            now = len(self._report.records) >= _REPORT_AT or throttled or self._settled == self._taken
        if now or time.monotonic() - self._reported_at >= _REPORT_EVERY:
            self._send_report()

    def _send_report(self, *, always: bool = False) -> None:
        with self._lock:
            report, self._report = self._report, Settled()
            self._reported_at = time.monotonic()
            # A request that ends later still must not be taken for a file of the next dataset.
            if (always or report.records or report.returned) and not self._finished:
                self._channel.send(report)


def _serve(channel: Channel) -> None:
    dataset: _Dataset | None = None
    while (message := channel.receive()) is not None:
        if isinstance(message, Begin):
            dataset = _Dataset(message, channel)
        elif dataset is None:
            continue  # of a dataset that has been finished
        elif isinstance(message, Files):
            dataset.take(message)
        elif isinstance(message, Pulse):
            dataset.beat(message)
        elif isinstance(message, Finish):
            dataset.finish()
            dataset = None
            channel.send(Finished())


def main() -> None:
    """Serve the worker that started this process until it closes the pipe."""
    collect_rarely()
    # What stops a worker may reach all its processes; it ends what it has begun and then closes the pipe.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(name, signal.SIG_IGN)
    with suppress(BulkhaulError):
        _serve(Channel(sys.stdin.buffer, os.fdopen(int(sys.argv[1]), "wb")))
    # All has been said, and the worker waits for this end: the interpreter's own takes 10 ms.
    os._exit(0)


if __name__ == "__main__":
    main()
