"""One listing as many: ranges of keys, each listed from where the one before ends, several at a time.

A listing goes from page to page, a round trip each; who knows some of the keys in advance need not wait for one page to
ask for the next. A server that begins a range elsewhere than it should is found out by the order of what comes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice, pairwise

from bulkhaul.s3.engine import Engine, RemoteObject, Repeat, once

AT_ONCE = 8
"""Ranges whose first page is asked for before it is needed; a page of 1,000 objects takes half a megabyte."""


def list_ranges(engine: Engine, prefix: str, cuts: Sequence[str], *, repeat: Repeat = once) -> Iterator[RemoteObject]:
    """Yield the objects whose key begins with `prefix`, cut into ranges behind each of `cuts`, keys in byte order.

    Raises:
        S3Error: what `repeat` could not cure.
    """
    waiting = deque(pairwise(["", *cuts, None]))
    begun: deque[_Range] = deque()
    while waiting or begun:
        while waiting and len(begun) < AT_ONCE:
            after, last = waiting.popleft()
            assert after is not None
            begun.append(_Range(engine.list_objects(prefix, after=after, repeat=repeat), last))
        yield from begun.popleft().objects()


class _Range:
    """A range whose first page a thread of its own asks for; whoever reads on asks for the others."""

    def __init__(self, listing: Iterator[RemoteObject], last: str | None) -> None:
        self._listing = listing
        self._last = last
        self._first: list[RemoteObject] = []
        self._error: BaseException | None = None
        # A daemon: a request that hangs cannot keep a stopped worker from ending.
        self._thread = threading.Thread(target=self._begin, name="listing", daemon=True)
        with suppress(RuntimeError):  # the node's limit of threads: the reader asks for all pages
            self._thread.start()

    def objects(self) -> Iterator[RemoteObject]:
        if self._thread.ident is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        for found in chain(self._first, self._listing):
            # Strings compare by code point, which is the order of their UTF-8.
            if self._last is None or found.key <= self._last:
                yield found
            if self._last is not None and found.key >= self._last:
                return  # before the next page is asked for

    def _begin(self) -> None:
        try:
            self._first = list(islice(self._listing, 1))
        except BaseException as error:  # noqa: BLE001 - a thread hands whatever ended it to its reader
            self._error = error
