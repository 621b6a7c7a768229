"""The port that both engines fill: put one object whose bytes are in memory, list a prefix. Nothing retries here.

An engine is bound to one bucket and one credential source, is used by many threads at once, and turns every error of
its library into `bulkhaul.errors` classes. Retries, pacing and large files live above it (`retry`, `transfer.pacing`,
`multipart`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class RemoteObject(NamedTuple):
    """One listed object: full key, size in bytes, ETag without quotes."""

    key: str
    size: int
    etag: str


class Repeat(Protocol):
    """How one request is made: `once`, or again by class of error (`retry.repeat` with its gate and source bound)."""

    def __call__(self, call: Callable[[], T], /, *, nbytes: int = 0) -> T:
        """Make the request, which carries `nbytes`, and return its answer, or raise what no repetition cures."""
        ...


def once(call: Callable[[], T], /, *, nbytes: int = 0) -> T:  # noqa: ARG001 - whoever limits bytes needs it
    """Make a request a single time."""
    return call()


class Engine(Protocol):
    """Sends small objects and lists them; thread-safe; no retries of its own."""

    name: str

    def put(self, key: str, body: bytes, *, crc64nvme: str) -> str:
        """Store `body` under `key` and return the ETag without quotes.

        `crc64nvme` (base64, as S3 writes it) travels with the body where the server checks it.

        Raises:
            S3Error: of the class that says what to do about it.
        """
        ...

    def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
        """Yield the objects whose key begins with `prefix`, in the server's order, page by page.

        With `after`, a key, only those that the server lists behind it. Each page is one request made through `repeat`,
        so a repeated page neither loses nor doubles an object.

        Raises:
            S3Error: also in mid-listing; what was yielded before stands.
        """
        ...
