"""A listing in ranges is the listing: whatever the cuts, whatever stands between them, whatever the server does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul import errors
from bulkhaul.s3.engine import RemoteObject, Repeat, once
from bulkhaul.s3.listing import list_ordered
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.policy import RetryPolicy
from bulkhaul.s3.ranges import AT_ONCE, list_ranges
from bulkhaul.s3.retry import repeat
from s3.engines import MakeEngine, on_stub
from s3.test_listing import ANY_KEYS, LAB, Lists, objects
from servers.stub import script
from servers.stub_s3 import StubS3

KEYS = [f"lab/{number:04d}" for number in range(100)]


@given(ANY_KEYS, st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=3), max_size=12))
def test_any_cuts_give_the_same_listing(keys: list[str], cuts: set[str]) -> None:
    found = sorted(objects(*("lab/" + key for key in keys)), key=lambda one: one.key.encode())
    at = sorted(("lab/" + cut for cut in {*cuts, *keys[::3]}), key=str.encode)

    assert list(list_ordered(Lists(found), LAB, cuts=at)) == found


def test_cuts_at_the_ends_of_pages_make_no_request_more(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 7
    for key in KEYS:
        stub.store.put("bucket", key, b"x")

    listed = list(list_ranges(on_stub(make, stub), "lab/", KEYS[6::7]))

    assert [one.key for one in listed] == KEYS
    assert stub.log.counts() == {"ListObjectsV2": 15}


def test_foreign_objects_between_the_cuts_are_listed_too(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 7
    foreign = [f"lab/0020 {number:02}" for number in range(30)]
    for key in (*KEYS, *foreign):
        stub.store.put("bucket", key, b"x")

    listed = list(list_ranges(on_stub(make, stub), "lab/", KEYS[6::7]))

    assert [one.key for one in listed] == sorted([*KEYS, *foreign])


def test_faults_on_each_page_lose_and_double_nothing(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 7
    for key in KEYS:
        stub.store.put("bucket", key, b"x")
    for number in range(14):
        stub.script.plan("ListObjectsV2", (script.slow_down(), script.reset(), script.refuse(500, "x"))[number % 3])
    again = partial(repeat, policy=RetryPolicy(first_pause=0.001))

    listed = list(list_ranges(on_stub(make, stub), "lab/", KEYS[6::7], repeat=again))

    assert [one.key for one in listed] == KEYS
    assert stub.script.met == 14


def test_a_fault_that_nothing_cures_reaches_the_reader_where_the_range_would_be() -> None:
    class Denied(Lists):
        def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
            if after:
                raise errors.AccessDenied(LAB, "not any more", "ask")
            yield from super().list_objects(prefix, repeat=repeat)

    listed = []
    with pytest.raises(errors.AccessDenied):
        for found in list_ranges(Denied(objects(*KEYS)), "lab/", ["lab/0049"]):
            listed.append(found.key)
    assert listed == KEYS[:50]


class Meeting(Lists):
    """Answers when so many ask at once."""

    def __init__(self, people: int) -> None:
        super().__init__(objects(*KEYS))
        self.door = threading.Barrier(people)

    def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
        self.door.wait(20)
        yield from super().list_objects(prefix, after=after, repeat=repeat)


def test_several_ranges_are_asked_for_at_once() -> None:
    listing = list_ranges(Meeting(AT_ONCE), "lab/", KEYS[: 2 * AT_ONCE - 1])

    assert [one.key for one in listing] == KEYS


def test_the_next_page_is_asked_for_while_this_one_is_read(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 7
    for key in KEYS:
        stub.store.put("bucket", key, b"x")

    listing = list_ranges(on_stub(make, stub), "lab/", [])
    first = next(listing)

    until = time.monotonic() + 20
    while stub.log.counts()["ListObjectsV2"] < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert [one.key for one in (first, *listing)] == KEYS
    assert stub.log.counts() == {"ListObjectsV2": 15}


def test_no_more_than_so_many_ranges_are_begun_ahead() -> None:
    begun: list[str] = []

    class Counting(Lists):
        def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
            begun.append(after)
            return super().list_objects(prefix, after=after, repeat=repeat)

    list(islice(list_ranges(Counting(objects(*KEYS)), "lab/", KEYS[:-1]), 10))

    assert len(begun) == 10 - 1 + AT_ONCE


def test_a_server_that_begins_elsewhere_is_out_of_order() -> None:
    class Deaf(Lists):
        def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
            return super().list_objects(prefix, repeat=repeat)

    with pytest.raises(errors.ListingOutOfOrder):
        list(list_ordered(Deaf(objects(*KEYS)), LAB, cuts=["lab/0049"]))


def test_without_threads_it_lists_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert [one.key for one in list_ranges(Lists(objects(*KEYS)), "lab/", KEYS[9::10])] == KEYS


def test_the_root_of_a_bucket_is_listed_in_ranges_too(make: MakeEngine, stub: StubS3) -> None:
    for key in KEYS:
        stub.store.put("bucket", key, b"x")

    listed = list_ordered(on_stub(make, stub), S3Location("bucket"), cuts=KEYS[9::10])

    assert [one.key for one in listed] == KEYS
