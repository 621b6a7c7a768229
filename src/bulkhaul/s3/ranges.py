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

_PAGE = 1000  # objects


def list_ranges(engine: Engine, prefix: str, cuts: Sequence[str], *, repeat: Repeat = once) -> Iterator[RemoteObject]:
    """Yield the objects whose key begins with `prefix`, cut into ranges behind each of `cuts`, keys in byte order.

    Raises:
        S3Error: what `repeat` could not cure.
    """
    waiting = deque(pairwise(["", *cuts, None]))
    begun: deque[Iterator[RemoteObject]] = deque()
    while waiting or begun:
        while waiting and len(begun) < AT_ONCE:
            after, last = waiting.popleft()
            assert after is not None
            listing = engine.list_objects(prefix, after=after, repeat=repeat)
            first = _Pull(listing, 1)
            begun.append(_open_range(first, listing) if last is None else _range(first, listing, last))
        yield from begun.popleft()


def _open_range(first: _Pull, listing: Iterator[RemoteObject]) -> Iterator[RemoteObject]:
    """All to the end, whose next page is asked for while this one is read."""
    pulled = first
    while objects := pulled.objects():
        pulled = _Pull(listing, _PAGE)
        yield from objects


def _range(first: _Pull, listing: Iterator[RemoteObject], last: str) -> Iterator[RemoteObject]:
    """All up to `last`, and no page more than that takes."""
    for found in chain(first.objects(), listing):
        # Strings compare by code point, which is the order of their UTF-8.
        if found.key <= last:
            yield found
        if found.key >= last:
            return


class _Pull:
    """The next `count` objects of a listing, which a thread of its own asks for; nobody else reads it meanwhile."""

    def __init__(self, listing: Iterator[RemoteObject], count: int) -> None:
        self._listing = listing
        self._count = count
        self._objects: list[RemoteObject] = []
        self._error: BaseException | None = None
        # A daemon: a request that hangs cannot keep a stopped worker from ending.
        self._thread = threading.Thread(target=self._pull, name="listing", daemon=True)
        with suppress(RuntimeError):  # the node's limit of threads: the reader asks
            self._thread.start()

    def objects(self) -> list[RemoteObject]:
        """What came; nothing when the listing has ended."""
        if self._thread.ident is None:
            self._pull()
        else:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self._objects

    def _pull(self) -> None:
        try:
            self._objects = list(islice(self._listing, self._count))
        except BaseException as error:  # noqa: BLE001 - a thread hands whatever ended it to its reader
            self._error = error
