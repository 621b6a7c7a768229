"""Listings of one location in byte order: streamed where the server keeps the order, else sorted through a spill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.listing import list_ordered, list_spilled
from bulkhaul.transfer.requests import Requests


class Listings:
    """Lists again and again; once `sorted` is set, through the spill in `folder`."""

    def __init__(self, requests: Requests, folder: Path) -> None:
        self._requests = requests
        self._folder = folder
        self.sorted = False

    def objects(self) -> Iterator[RemoteObject]:
        """Yield what S3 lists now, in byte order.

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
            yield from list_ordered(connection.engine, connection.location, repeat=self._requests.repeat)
