"""One suite for both engines: what is put arrives as it is, what is listed is what is there."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from bulkhaul.s3.engine import Engine
from bulkhaul.s3.location import key_problem
from s3.engines import ENGINES, MakeEngine, on_seaweed
from s3.expected import crc
from servers.seaweed import Seaweed

pytestmark = pytest.mark.slow  # a process or a server a test


ODD_NAMES = (
    *(
        "a%b",
        "a%20b",
        "a%2Fb",
        "%",
        "%zz",
        "a#b",
        "a?b",
        "a?b=c&d",
        "a*b",
        "a~b",
        "~",
        "a b",
        " a",
        "a ",
        "a  b",
        "a+b",
    ),
    *("a&b", "a=b", "a;b", "a:b", "a,b", "a@b", "a$b", "a'b", 'a"b', "<a>", "[a]", "{a}", "a|b", "a^b", "a`b", "a!b"),
    *("(a)", "-a", "_", ".a", "..a", "a.", "a..", "...", "c/0.0.0", "é", "é", "日本", "😀", "a\u00a0b", "a\u200bb"),
    *("a\u2028b", "\ufeffa", "\ufffd", "\u00ad", "İ", "&amp;", "a]]>b", "x" * 200),
)


@pytest.fixture
def engine(make: MakeEngine, s3_server: Seaweed, bucket: str) -> Engine:
    return on_seaweed(make, s3_server, bucket)


@pytest.mark.parametrize("body", [b"", b"x", b"\x00\xff" * 8192, b"m" * 6_000_000], ids=["0", "1", "16Ki", "6M"])
def test_what_is_put_arrives_in_one_piece_with_its_checksum(
    engine: Engine, s3_server: Seaweed, bucket: str, body: bytes
) -> None:
    etag = engine.put("lab/plate/chunk", body, crc64nvme=crc(body))

    assert etag == hashlib.md5(body).hexdigest()
    stored = s3_server.client().get_object(Bucket=bucket, Key="lab/plate/chunk", ChecksumMode="ENABLED")
    assert stored["Body"].read() == body
    assert stored["ChecksumCRC64NVME"] == crc(body)
    assert stored["ETag"] == f'"{etag}"'


def test_a_put_replaces_what_was_there(engine: Engine, s3_server: Seaweed, bucket: str) -> None:
    engine.put("key", b"old", crc64nvme=crc(b"old"))
    engine.put("key", b"new", crc64nvme=crc(b"new"))

    assert s3_server.client().get_object(Bucket=bucket, Key="key")["Body"].read() == b"new"


def test_odd_but_legal_names_are_stored_and_listed_as_they_are(engine: Engine, s3_server: Seaweed, bucket: str) -> None:
    keys = {f"lab/{number:02d}/{name}" for number, name in enumerate(ODD_NAMES)}
    keys |= {f"lab/{number:02d}/d/{name}/f" for number, name in enumerate(ODD_NAMES)}
    assert [key for key in keys if key_problem(key)] == []

    etags = {key: engine.put(key, key.encode(), crc64nvme=crc(key.encode())) for key in sorted(keys)}

    raw = s3_server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="lab/")
    assert {one["Key"] for page in raw for one in page["Contents"]} == keys
    for name in sorted(ENGINES):
        listed = list(on_seaweed(ENGINES[name], s3_server, bucket).list_objects("lab/"))
        assert {one.key: one.etag for one in listed} == etags
        assert all(one.size == len(one.key.encode()) for one in listed)


def test_a_listing_takes_the_prefix_as_it_is_written(engine: Engine, s3_server: Seaweed, bucket: str) -> None:
    for key in ("lab/A1/x", "lab/A10/x", "lab/A1", "lab/B"):
        s3_server.client().put_object(Bucket=bucket, Key=key, Body=b"")

    assert {one.key for one in engine.list_objects("lab/A1/")} == {"lab/A1/x"}
    assert {one.key for one in engine.list_objects("lab/A1")} == {"lab/A1/x", "lab/A10/x", "lab/A1"}
    assert {one.key for one in engine.list_objects("")} == {"lab/A1/x", "lab/A10/x", "lab/A1", "lab/B"}
    assert list(engine.list_objects("nothing/")) == []


def test_many_threads_share_one_engine(engine: Engine) -> None:
    bodies = {f"lab/{number}": str(number).encode() * 100 for number in range(160)}

    with ThreadPoolExecutor(8) as pool:
        etags = list(pool.map(lambda key: engine.put(key, bodies[key], crc64nvme=crc(bodies[key])), bodies))

    assert etags == [hashlib.md5(body).hexdigest() for body in bodies.values()]
    assert {one.key for one in engine.list_objects("lab/")} == set(bodies)
