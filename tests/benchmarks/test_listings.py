"""The sink lists as S3 does: byte order, prefixes, delimiters, pages, keys of any characters."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote

import pytest

from benchmarks.running import Program
from benchmarks.wire import talk

ODD = (
    "",
    "a",
    "b",
    "ab",
    "é",
    "漢",
    "😀",
    "&",
    "<>",
    "'\"",
    "+ ",
    "%41",
    "\n",
    "\r\t",
    "\x01",
    "//",
    "~",
    "\x7f",
    "?#=",
)


def odd_keys(rng: random.Random, count: int) -> list[str]:
    keys = {"/".join(rng.choice(ODD) for _ in range(rng.randint(1, 4))) for _ in range(count)}
    return sorted(keys - {""}, key=str.encode)


def expected_entries(keys: list[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """What S3 would list, keys and common prefixes in one order."""
    found: dict[str, None] = {}
    for key in keys:
        if not key.startswith(prefix) or key.encode() <= after.encode():
            continue
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        common = key if end < 0 else key[: end + len(delimiter)]
        # What `after` names as a common prefix is over with all that lies below it.
        if common != after:
            found[common] = None
    return list(found)


def listed(client: Any, version: int, most: int, **arguments: str) -> list[str]:
    """The entries of all pages, which must be full but for the last."""
    call = client.list_objects_v2 if version == 2 else client.list_objects
    found: list[str] = []
    while True:
        page = call(Bucket="bucket", MaxKeys=most, **arguments)
        entries = [one["Key"] for one in page.get("Contents", ())]
        entries += [one["Prefix"] for one in page.get("CommonPrefixes", ())]
        entries.sort(key=str.encode)
        assert page.get("KeyCount", len(entries)) == len(entries)
        found += entries
        if not page["IsTruncated"]:
            return found
        assert len(entries) == most
        if version == 2:
            arguments["ContinuationToken"] = page["NextContinuationToken"]
        else:
            arguments["Marker"] = page["NextMarker"]


def send(sink: Program, steps: list[tuple[str, str]]) -> None:
    """Each verb with its key, a thousand in one piece."""
    for at in range(0, len(steps), 1000):
        some = steps[at : at + 1000]
        requests = "".join(f"{verb} /bucket/{quote(name, safe='')} HTTP/1.1\r\n\r\n" for verb, name in some)
        assert talk(sink, requests.encode(), answers=len(some)).count(b"HTTP/1.1 20") == len(some)


@pytest.mark.slow
def test_listings_are_those_of_a_model(sink: Program) -> None:
    rng = random.Random(7)
    keys = odd_keys(rng, 1500)
    client = sink.client()
    send(sink, [("PUT", key) for key in rng.sample(keys, len(keys))])
    assert sink.stats()["objects"] == len(keys) > 900
    for _ in range(150):
        prefix = rng.choice(("", rng.choice(keys)[: rng.randint(0, 5)], rng.choice(ODD)))
        delimiter = rng.choice(("", "/", "/", "a", "//"))
        after = rng.choice(("", "", rng.choice(keys), rng.choice(ODD), prefix + "a"))
        version, most = rng.choice((1, 2)), rng.choice((1, 2, 7, 100, 1000))
        expected = expected_entries(keys, prefix, delimiter, after)
        most = max(most, len(expected) // 20)  # twenty pages show what two hundred do
        given = {"Prefix": prefix, "Delimiter": delimiter, "StartAfter" if version == 2 else "Marker": after}
        found = listed(client, version, most, **{name: value for name, value in given.items() if value})
        assert found == expected, (version, most, given)
    page = client.list_objects_v2(Bucket="bucket", MaxKeys=0)
    assert (page["KeyCount"], page["IsTruncated"]) == (0, False)
    left = delete_some(sink, client, rng, keys)
    assert listed(client, 2, 1000) == left


def delete_some(sink: Program, client: Any, rng: random.Random, keys: list[str]) -> list[str]:
    """Take half of the keys away, by one request for many where XML 1.0 can write them; the others."""
    gone = rng.sample(keys, len(keys) // 2)
    posted = [key for key in gone if not set(key) & {"\x01"}][:900]
    send(sink, [("DELETE", key) for key in sorted(set(gone) - set(posted))])
    answer = client.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": key} for key in posted]})
    assert [one["Key"] for one in answer["Deleted"]] == posted
    return [key for key in keys if key not in set(gone)]


@pytest.mark.slow
def test_many_keys_that_come_and_go_in_any_order_are_listed_in_theirs(sink: Program) -> None:
    """Over many leaves of the index."""
    rng = random.Random(3)
    names = [f"{rng.getrandbits(40):x}/{at}" for at in range(60_000)]
    gone = set(rng.sample(names, 40_000))
    steps = [("PUT", name) for name in names] + [("PUT", name) for name in names[:5000]]
    steps += [("DELETE", name) for name in rng.sample(sorted(gone), len(gone))]
    left = sorted(set(names) - gone)
    client = sink.client()
    send(sink, steps)
    assert sink.stats()["objects"] == len(left)
    assert listed(client, 2, 1000) == left
    assert listed(client, 2, 1000, Delimiter="/") == [f"{name.partition('/')[0]}/" for name in left]
    sink.reset()
    assert listed(client, 2, 1000) == []


def test_a_listing_without_coded_keys_escapes_them_as_xml(sink: Program) -> None:
    """As rclone asks for it."""
    keys = ["a&b", "c<d>", "e'f\"", "g\rh\ni\tj", "k l+m%41", "é"]
    client = sink.client()
    for key in keys:
        client.put_object(Bucket="bucket", Key=key, Body=b"")
    client.meta.events.register("before-call.s3.ListObjectsV2", drop_encoding)
    page = client.list_objects_v2(Bucket="bucket")
    assert "EncodingType" not in page
    assert [one["Key"] for one in page["Contents"]] == sorted(keys, key=str.encode)


def drop_encoding(params: dict[str, Any], **_event: Any) -> None:
    params["url"] = params["url"].replace("encoding-type=url", "")
    params["context"].pop("encoding_type_auto_set", None)
