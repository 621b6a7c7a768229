"""Listings of one location in byte order: streamed where the server keeps the order, else sorted through a spill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.listing import list_ordered, list_spilled
from bulkhaul.transfer.requests import Requests


class Listings:
    """Lists again and again; once `sorted` is set, through the spill in `folder`.

    `answered` hears how many seconds the first page of a listing took.
    """

    def __init__(self, requests: Requests, folder: Path, *, answered: Callable[[float], None] = lambda _: None) -> None:
        self._requests = requests
        self._folder = folder
        self._answered = answered
        self.sorted = False

    def objects(self, cuts: Sequence[str] = ()) -> Iterator[RemoteObject]:
        """Yield what S3 lists now, in byte order; in ranges between `cuts`, several at a time, where it streams.

        Raises:
            ListingOutOfOrder: the server does not keep the order; what was yielded is void. Never once `sorted`.
            S3Error: no repetition helped.
        """
        connection = self._requests.connection
        if self.sorted:
            yield from list_spilled(
                connection.engine, connection.location, folder=self._folder, repeat=self._requests.repeat
            )
        else:
            asked = time.monotonic()
            listed = list_ordered(connection.engine, connection.location, cuts=cuts, repeat=self._requests.repeat)
            first = next(listed, None)
            self._answered(time.monotonic() - asked)
            if first is not None:
                yield first
                yield from listed
