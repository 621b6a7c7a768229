"""Byte order is checked while it streams, and the spill brings any listing into it without losing or doubling a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul import errors
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.engine import RemoteObject, Repeat, once
from bulkhaul.s3.listing import list_ordered, list_spilled
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.policy import RetryPolicy
from bulkhaul.s3.retry import repeat
from s3.engines import MakeEngine
from s3.reach import fixed_source
from servers.seaweed import ADMIN, Seaweed
from servers.stub import script
from servers.stub_s3 import StubS3

LAB = S3Location("bucket", "lab")


class Lists:
    """An engine over a listing that is given: lets pure rules be tried on any order."""

    name = "given"

    def __init__(self, objects: Iterable[RemoteObject]) -> None:
        self._objects = objects

    def put(self, key: str, body: bytes, *, crc64nvme: str) -> str:
        raise NotImplementedError

    def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
        return (one for one in self._objects if one.key.startswith(prefix) and one.key > after)


def objects(*keys: str) -> list[RemoteObject]:
    return [RemoteObject(key, len(key), f"etag of {number}") for number, key in enumerate(keys)]


ANY_KEYS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), max_size=40, unique=True)


@given(ANY_KEYS)
def test_a_listing_in_byte_order_passes_and_any_other_is_refused(keys: list[str]) -> None:
    found = objects(*("lab/" + key for key in keys))
    in_order = sorted(found, key=lambda one: one.key.encode())

    assert list(list_ordered(Lists(in_order), LAB)) == in_order
    if found == in_order:
        assert list(list_ordered(Lists(found), LAB)) == in_order
    else:
        with pytest.raises(errors.ListingOutOfOrder):
            list(list_ordered(Lists(found), LAB))


@given(keys=ANY_KEYS)
def test_the_spill_sorts_any_listing_by_bytes(keys: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    found = objects(*("lab/" + key for key in keys))

    listed = list(list_spilled(Lists(found), LAB, folder=tmp_path_factory.getbasetemp()))

    assert listed == sorted(found, key=lambda one: one.key.encode())


@pytest.mark.parametrize(
    "keys", [("lab/a", "lab/a"), ("lab/b", "lab/a"), ("lab/a/x", "lab/a b"), ("lab/\uffff", "lab/é")]
)
def test_what_was_yielded_before_the_break_came_in_order(keys: tuple[str, str]) -> None:
    listing = list_ordered(Lists(objects(*keys)), LAB)

    assert next(listing).key == keys[0]
    with pytest.raises(errors.ListingOutOfOrder, match="byte order"):
        next(listing)


def test_utf16_order_is_not_byte_order() -> None:
    in_bytes = objects("lab/\uff5e", "lab/\U0001f600")

    assert list(list_ordered(Lists(in_bytes), LAB)) == in_bytes


def test_of_a_key_that_comes_twice_the_later_one_counts(tmp_path: Path) -> None:
    found = objects("lab/b", "lab/a", "lab/b", "lab/b\n", "lab/b")

    listed = list(list_spilled(Lists(found), LAB, folder=tmp_path))

    assert [(one.key, one.etag) for one in listed] == [
        ("lab/a", "etag of 1"),
        ("lab/b", "etag of 4"),
        ("lab/b\n", "etag of 3"),
    ]


def test_a_spill_leaves_nothing_behind(tmp_path: Path) -> None:
    listing = list_spilled(Lists(objects("lab/b", "lab/a")), LAB, folder=tmp_path)
    next(listing)
    listing.close()  # type: ignore[attr-defined]

    assert list(tmp_path.iterdir()) == []


def test_a_location_does_not_list_its_neighbour(make: MakeEngine, stub: StubS3) -> None:
    for key in ("lab/A1/x", "lab/A10/x", "lab/A1.manifest.jsonl.gz"):
        stub.store.put("bucket", key, b"")
    token = stub.tokens.issue(None)
    engine = make("bucket", fixed_source(token.access_key, token.secret_key), S3Options(endpoint_url=stub.url))

    assert [one.key for one in list_ordered(engine, S3Location("bucket", "lab/A1"))] == ["lab/A1/x"]
    assert len(list(list_ordered(engine, S3Location("bucket")))) == 3


def test_many_pages_with_faults_in_each_lose_and_double_nothing(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 7
    keys = [f"lab/{number:04d}" for number in range(100)]
    for key in keys:
        stub.store.put("bucket", key, b"x")
    token = stub.tokens.issue(None)
    source = fixed_source(token.access_key, token.secret_key)
    engine = make("bucket", source, S3Options(endpoint_url=stub.url))
    again = partial(repeat, source=source, policy=RetryPolicy(first_pause=0.001))
    for number in range(14):
        stub.script.plan("ListObjectsV2", (script.slow_down(), script.reset(), script.refuse(500, "x"))[number % 3])
        stub.script.plan("ListObjectsV2", lambda _request, serve: serve())

    assert [found.key for found in list_ordered(engine, LAB, repeat=again)] == keys
    assert stub.script.met == 2 * 14, "each page but the last is refused once, then served"
    assert stub.log.counts() == {"ListObjectsV2": 15 + 14}


def test_the_real_server_lists_in_another_order_and_the_spill_puts_it_right(
    make: MakeEngine, s3_server: Seaweed, bucket: str, tmp_path: Path
) -> None:
    keys = ["lab/a b", "lab/a/x", "lab/a/é", "lab/a.txt", "lab/a0", "lab/B"]
    for key in keys:
        s3_server.client().put_object(Bucket=bucket, Key=key, Body=key.encode())
    engine = make(bucket, fixed_source(ADMIN.access_key, ADMIN.secret_key), S3Options(endpoint_url=s3_server.url))
    location = S3Location(bucket, "lab")

    with pytest.raises(errors.ListingOutOfOrder):
        list(list_ordered(engine, location))

    listed = list(list_spilled(engine, location, folder=tmp_path))
    assert [one.key for one in listed] == sorted(keys, key=str.encode)
    assert [one.size for one in listed] == [len(one.key.encode()) for one in listed]


def test_the_real_servers_pages_fit_together(make: MakeEngine, s3_server: Seaweed, bucket: str) -> None:
    engine = make(bucket, fixed_source(ADMIN.access_key, ADMIN.secret_key), S3Options(endpoint_url=s3_server.url))
    keys = [f"lab/c/{number // 50:03d}/{number % 50:03d}" for number in range(1100)]
    for key in keys:
        engine.put(key, b"", crc64nvme="AAAAAAAAAAA=")

    assert [one.key for one in list_ordered(engine, S3Location(bucket, "lab"))] == keys
