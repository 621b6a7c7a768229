"""What the interpreter has to do for each of a million entries on the way of plan and proof, counted and not timed.

The calls of Python functions an entry are exact: the difference between two lengths of the same streams. The blocks of
memory that a stream leaves behind are, too, as long as nothing else runs.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

import pytest

from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.location import S3Location
from bulkhaul.sources.tree import LocalFile, walk
from bulkhaul.transfer.manifest import Outcome, Record, Verified, decode, encode
from bulkhaul.transfer.plan import plan
from bulkhaul.transfer.terms import SyncLevel
from bulkhaul.transfer.verify import verify

HERE = S3Location("bucket", "p")
ETAG = "9dd4e461268c8034f5c8564e155c67a6"
Work = Callable[[int], Iterable[object]]


def names(entries: int) -> list[str]:
    return [f"{number // 500:05}/{number % 500:03}" for number in range(entries)]


def files(entries: int) -> list[LocalFile]:
    return [LocalFile(name, 1, 1, 1, 1) for name in names(entries)]


def listing(entries: int) -> list[RemoteObject]:
    return [RemoteObject(f"p/{name}", 1, ETAG) for name in names(entries)]


def records(entries: int) -> list[Record]:
    return [Record(name, Outcome.SENT, "", 1, 1, 1, ETAG, "", Verified.PUT) for name in names(entries)]


def planned(entries: int, *, there: bool) -> Iterable[object]:
    remote, known = (listing(entries), records(entries)) if there else ([], [])
    return plan(files(entries), remote, known, location=HERE, sync_level=SyncLevel.DEFAULT)


# Python calls an entry, as measured on 3.11; a newer Python inlines some and makes no more.
COSTS: dict[str, tuple[Work, int]] = {
    "the plan of what is there": (lambda entries: planned(entries, there=True), 19),
    "the plan of what is missing": (lambda entries: planned(entries, there=False), 11),
    "the proof": (lambda entries: verify(records(entries), listing(entries), location=HERE), 8),
    "a record to its line and back": (lambda entries: map(decode, map(encode, records(entries))), 4),
}


def calls_of(work: Iterable[object]) -> int:
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    gc.disable()  # hypothesis, once imported, is called at each collection
    sys.setprofile(note)
    try:
        deque(work, maxlen=0)
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@pytest.mark.parametrize(("work", "most"), COSTS.values(), ids=COSTS.keys())
def test_python_calls_an_entry(work: Work, most: int) -> None:
    assert (calls_of(work(3_000)) - calls_of(work(1_000))) / 2_000 <= most


def test_python_calls_of_the_walk_a_file(tmp_path: Path) -> None:
    for number in range(300):
        path = tmp_path / ("few" if number < 100 else "many") / f"{number:03}"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    few, many = (calls_of(walk(tmp_path / name)) for name in ("few", "many"))
    # The walk goes on, examines, names and makes the entry, and asks whether the name is a folder's.
    assert (many - few) / 100 <= 5


def blocks_left_by(work: Iterable[object], *, before: int, after: int) -> int:
    """The blocks that stay allocated while a stream goes on from entry `before` to entry `after`."""
    stream = iter(work)
    gc.collect()
    gc.disable()
    try:
        deque((next(stream) for _ in range(before)), maxlen=0)
        here = sys.getallocatedblocks()
        deque((next(stream) for _ in range(after - before)), maxlen=0)
        return sys.getallocatedblocks() - here
    finally:
        gc.enable()


@pytest.mark.parametrize("work", [work for work, _ in COSTS.values()], ids=COSTS.keys())
def test_no_object_stays_behind_for_an_entry(work: Work) -> None:
    # One or two for the stream's own state, as where a name of another length stands; none for any of 4,000 entries.
    assert blocks_left_by(work(5_000), before=1_000, after=5_000) < 10
