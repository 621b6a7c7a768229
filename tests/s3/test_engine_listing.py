"""The listings of both engines: each key exactly, no page lost, no answer mistaken."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from bulkhaul import errors
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.location import key_problem
from s3.engines import MakeEngine, on_stub
from s3.expected import crc
from servers.stub import script
from servers.stub.message import Answer
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.slow  # a process or a server a test


FOREIGN = ("lab/a\nb", "lab//x", "lab/./y", "lab/../z", "lab/folder/", "lab/", "lab/t\tab", "lab/\x7f", "lab/folder")


def test_keys_that_others_put_are_listed_exactly(make: MakeEngine, stub: StubS3) -> None:
    for key in (*FOREIGN, "/lead", "elsewhere"):
        stub.store.put("bucket", key, key.encode())

    listed = list(on_stub(make, stub).list_objects("lab/"))

    assert [one.key for one in listed] == sorted(FOREIGN, key=str.encode)
    assert [one.etag for one in listed] == [hashlib.md5(one.key.encode()).hexdigest() for one in listed]
    assert "/lead" in {one.key for one in on_stub(make, stub).list_objects("")}


def test_a_failed_page_is_asked_for_again_alone(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 3
    for number in range(10):
        stub.store.put("bucket", f"lab/{number}", b"")
    failures = iter([True, False, True, True, False, False, False])
    repeats = 0

    def repeat(call):  # type: ignore[no-untyped-def]
        nonlocal repeats
        while True:
            if next(failures):
                stub.script.plan("ListObjectsV2", script.refuse(500, "InternalError"))
            try:
                return call()
            except errors.Transient:
                repeats += 1

    listed = [one.key for one in on_stub(make, stub).list_objects("lab/", repeat=repeat)]

    assert listed == [f"lab/{number}" for number in range(10)]
    assert repeats == 3
    assert stub.log.counts()["ListObjectsV2"] == 4 + repeats


def test_a_fault_in_mid_listing_surfaces_after_what_was_listed(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 2
    for number in range(4):
        stub.store.put("bucket", f"lab/{number}", b"")
    listing = on_stub(make, stub).list_objects("lab/")
    assert next(listing).key == "lab/0"
    stub.script.plan("ListObjectsV2", script.slow_down())

    assert next(listing).key == "lab/1"
    with pytest.raises(errors.Throttled):
        next(listing)
    assert stub.log.counts()["ListObjectsV2"] == 2


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in here",
        b"",
        b'{"not": "xml"}',
        b"<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents>",
    ],
)
def test_an_answer_that_is_no_listing_is_never_taken_for_an_empty_one(
    make: MakeEngine, stub: StubS3, body: bytes
) -> None:
    stub.script.plan("ListObjectsV2", lambda _request, _serve: Answer(200, body))

    with pytest.raises(errors.S3Error) as caught:
        list(on_stub(make, stub).list_objects("lab/"))
    assert caught.value.thing == "s3://bucket/lab/"


@pytest.mark.parametrize(
    "entry",
    [
        "<Contents><Key>lab/a&amp;b&lt;c</Key><Size>3</Size><ETag>&quot;e&quot;</ETag></Contents>",
        '<Contents>\n <ETag>"e"</ETag>\n <Size>3</Size>\n <Key>lab/a&amp;b&lt;c</Key>\n</Contents>\n',
        "<Contents><Owner><ID>1</ID></Owner><Key>lab/a&#38;b&#x3c;c</Key><Size>3</Size><ETag>e</ETag></Contents>",
        "<Contents><Key><![CDATA[lab/a&b<c]]></Key><Size>3</Size><ETag>&#34;e&#34;</ETag></Contents>",
        "<!-- one --><Contents><Key>lab/a&amp;b&lt;c</Key><!-- e --><Size>3</Size><ETag>e</ETag></Contents>",
        '<x:Contents xmlns:x="http://s3"><x:Key>lab/a&amp;b&lt;c</x:Key><x:Size>3</x:Size><x:ETag>e</x:ETag></x:Contents>',
    ],
    ids=["as AWS", "another order", "by number", "CDATA", "comments", "prefix"],
)
def test_a_page_is_read_however_its_xml_is_written(make: MakeEngine, stub: StubS3, entry: str) -> None:
    body = f"<ListBucketResult><Name>b</Name>{entry}<IsTruncated>false</IsTruncated></ListBucketResult>".encode()
    stub.script.plan("ListObjectsV2", lambda _request, _serve: Answer(200, body))
    assert list(on_stub(make, stub).list_objects("lab/")) == [RemoteObject("lab/a&b<c", 3, "e")]


@pytest.mark.parametrize("etag", ["&quot;e-2&quot;", '"e-2"', "e-2", "&#34;e-2&#34;"])
@pytest.mark.parametrize("behind", ["", "\n  ", "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"])
def test_plain_entries_and_others_are_read_alike(make: MakeEngine, stub: StubS3, etag: str, behind: str) -> None:
    entries = "".join(
        f"<Contents><Key>lab/{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{etag}</ETag>"
        "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Owner><ID>o</ID></Owner><Size>30</Size>"
        f"<StorageClass>STANDARD</StorageClass></Contents>{behind}"
        for key in ("a", "a&amp;b", "ü")
    )
    body = f"<ListBucketResult>{entries}<IsTruncated>false</IsTruncated></ListBucketResult>".encode()
    stub.script.plan("ListObjectsV2", lambda _request, _serve: Answer(200, body))
    listed = list(on_stub(make, stub).list_objects("lab/"))
    assert listed == [RemoteObject(f"lab/{key}", 30, "e-2") for key in ("a", "a&b", "ü")]


@pytest.mark.parametrize("cut", [1, 40, 100, 130])
def test_a_page_that_is_cut_off_is_never_taken_for_a_whole_one(make: MakeEngine, stub: StubS3, cut: int) -> None:
    entry = "<Contents><Key>lab/a</Key><Size>3</Size><ETag>e</ETag></Contents>"
    body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entry}{entry}</ListBucketResult>".encode()
    stub.script.plan("ListObjectsV2", lambda _request, _serve: Answer(200, body[:-cut]))
    with pytest.raises(errors.Transient):
        list(on_stub(make, stub).list_objects("lab/"))


@pytest.mark.parametrize("token", ["", "<NextContinuationToken>t</NextContinuationToken>"])
def test_a_listing_that_never_ends_is_ended(make: MakeEngine, stub: StubS3, token: str) -> None:
    page = f"<ListBucketResult><IsTruncated>true</IsTruncated>{token}</ListBucketResult>".encode()
    stub.script.plan("ListObjectsV2", lambda _request, _serve: Answer(200, page), times=100)

    with pytest.raises(errors.BucketUnusable):
        list(on_stub(make, stub).list_objects("lab/"))
    assert stub.log.counts()["ListObjectsV2"] <= 2


def test_a_page_is_asked_for_only_when_it_is_needed(make: MakeEngine, stub: StubS3) -> None:
    stub.store.page_size = 2
    for number in range(6):
        stub.store.put("bucket", f"lab/{number}", b"")

    listing = on_stub(make, stub).list_objects("lab/")
    next(listing), next(listing)

    assert stub.log.counts()["ListObjectsV2"] == 1


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).filter(lambda key: key_problem(key) is None))
def test_each_key_that_the_plan_lets_through_is_one_that_obstore_takes_as_it_is(key: str) -> None:
    store = MemoryStore()

    store.put(key, b"")

    assert [one["path"] for batch in store.list() for one in batch] == [key]


def test_a_put_lets_other_threads_run(make: MakeEngine, stub: StubS3) -> None:
    engine = on_stub(make, stub)
    stub.script.plan("PutObject", stub.script.hang(60), key="slow")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(engine.put, "slow", b"x", crc64nvme=crc(b"x"))
        while not stub.script.met:
            time.sleep(0.01)
        engine.put("fast", b"x", crc64nvme=crc(b"x"))
        assert not slow.done()
        stub.script.closing.set()
        with pytest.raises(errors.Transient):
            slow.result()
