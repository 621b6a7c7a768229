"""Files that failed by what may pass are sent again when all others have had their turn: three passes over a dataset.

A request is repeated for about half a minute; an outage of some minutes, or a file system that stumbles, would turn a
dataset of a million files into an error for the sake of a few.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.spool import Spool, decode_task, encode_task

PASSES = 3
"""How often a file that fails by network or file system is tried, each time with all the tries of a request."""


class Passes:
    """The files set aside for the next pass, on disk; any thread sets aside, one takes them when all others are done.

    `new_spool` makes a scratch file that lives as long as the run.
    """

    def __init__(self, new_spool: Callable[[], Spool]) -> None:
        self._new_spool = new_spool
        self._lock = threading.Lock()
        self._spool: Spool | None = None
        self._number = 1

    @property
    def again(self) -> bool:
        """Whether all files that are sent now have failed before."""
        return self._number > 1

    def set_aside(self, task: Upload | Compare) -> bool:
        """Keep a file for the next pass; False in the last one."""
        with self._lock:
            if self._number >= PASSES:
                return False
            if self._spool is None:
                self._spool = self._new_spool()
            self._spool.write(encode_task(task))
            return True

    def next(self) -> Iterator[Upload | Compare] | None:
        """Begin the next pass and yield its files; None when nothing is left, and the count begins anew."""
        with self._lock:
            spool, self._spool = self._spool, None
            self._number = 1 if spool is None else self._number + 1
        return None if spool is None else map(decode_task, spool.lines())
