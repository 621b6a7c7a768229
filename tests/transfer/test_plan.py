from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import BulkhaulError
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.location import S3Location
from bulkhaul.sources.tree import Entry, LeftOut, LocalFile, order_key
from bulkhaul.transfer.manifest import Outcome, Record, Verified
from bulkhaul.transfer.plan import Compare, Decision, Extra, Leave, Skip, Upload, plan
from bulkhaul.transfer.terms import SyncLevel

HERE = S3Location("bucket", "p")
MD5 = "0" * 32


def local(name: str, size: int = 1, mtime: int = 10) -> LocalFile:
    return LocalFile(name, size, mtime, mtime, inode=1)


def remote(name: str, size: int = 1, etag: str = MD5) -> RemoteObject:
    return RemoteObject(HERE.key(name), size, etag)


def record(name: str, size: int = 1, mtime: int = 10, etag: str = MD5, verified: Verified = Verified.PUT) -> Record:
    return Record(name, Outcome.SENT, "", size, mtime, mtime, etag, "crc", verified)


def decide(
    entry: Entry, found: RemoteObject | None, known: Record | None, level: SyncLevel = SyncLevel.DEFAULT
) -> Decision:
    decisions = list(plan([entry], [found] if found else [], [known] if known else [], location=HERE, sync_level=level))
    assert len(decisions) == 1
    return decisions[0]


F = local("a")
NEW = Compare(F, remote("a"))
TABLE = [
    # listed, earlier record, level -> decision
    (None, None, "default", Upload(F, "missing")),
    (None, record("a"), "default", Upload(F, "missing")),
    (None, record("a"), "size", Upload(F, "missing")),
    (remote("a", size=2), record("a"), "default", Upload(F, "other size")),
    (remote("a", size=2), None, "size", Upload(F, "other size")),
    (remote("a"), None, "default", NEW),
    (remote("a"), record("a"), "default", Skip(record("a"), "unchanged")),
    (remote("a"), record("a", mtime=9), "default", NEW),
    (remote("a"), record("a", etag="1" * 32), "default", NEW),
    (remote("a"), record("a")._replace(outcome=Outcome.FAILED), "default", NEW),
    (remote("a"), record("a", verified=Verified.SIZE), "default", NEW),
    (remote("a"), record("a"), "checksum", Compare(F, remote("a"), record("a"))),
    (remote("a"), record("a", mtime=9), "checksum", NEW),
    (remote("a"), record("a"), "size", Skip(record("a"), "same size")),
    (
        remote("a"),
        None,
        "size",
        Skip(Record("a", Outcome.SKIPPED, "same size", 1, 10, 10, MD5, "", Verified.SIZE), "same size"),
    ),
]


@pytest.mark.parametrize(("found", "known", "level", "expected"), TABLE)
def test_each_case_of_a_file(found: RemoteObject | None, known: Record | None, level: str, expected: Decision) -> None:
    assert decide(F, found, known, SyncLevel(level)) == expected


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "a\udcff", "a/./b", "x" * 1023])
def test_a_name_that_s3_would_rewrite_or_refuse_is_never_sent(name: str) -> None:
    decision = decide(local(name), None, None)
    assert isinstance(decision, Leave)
    assert decision.record.outcome is Outcome.FAILED
    assert decision.record.reason.startswith("refused: ")
    assert decision.record.name == name


def test_left_out_entries_keep_their_reason_and_fate() -> None:
    skipped = decide(LeftOut("a", "symlink", failed=False), None, None)
    unreadable = decide(LeftOut("d", "unreadable", failed=True, folder=True), None, None)
    assert skipped == Leave(Record("a", Outcome.SKIPPED, "symlink"))
    assert unreadable == Leave(Record("d/", Outcome.FAILED, "unreadable"))


def test_the_empty_prefix_is_the_buckets_root() -> None:
    root = S3Location("bucket")
    made = list(plan([F], [RemoteObject("a", 1, MD5)], [], location=root, sync_level=SyncLevel.DEFAULT))
    assert made == [Compare(F, RemoteObject("a", 1, MD5))]


def test_a_tree_out_of_order_is_an_error_and_not_a_wrong_plan() -> None:
    with pytest.raises(BulkhaulError, match="byte order"):
        list(plan([local("b"), local("a")], [], [], location=HERE, sync_level=SyncLevel.DEFAULT))


def test_an_entry_that_the_file_system_gives_twice_is_decided_once() -> None:
    made = list(plan([F, F], [], [], location=HERE, sync_level=SyncLevel.DEFAULT))
    assert made == [Upload(F, "missing")]


# The oracle: dictionaries, no order, no streams.

NAMES = st.text(st.sampled_from("ab -./0é\U0001f600"), min_size=1, max_size=4)
SIZES = st.integers(0, 1)
ETAGS = st.sampled_from([MD5, "1" * 32])
TIMES = st.integers(10, 11)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    made: dict[bytes, Entry] = {}
    for name in draw(st.lists(NAMES, max_size=8)):
        if name.endswith("/"):
            continue
        entry: Entry = draw(
            st.one_of(
                st.builds(local, st.just(name), SIZES, TIMES),
                st.builds(LeftOut, st.just(name), st.just("why"), st.booleans(), st.booleans()),
            )
        )
        made[order_key(entry)] = entry
    return [made[key] for key in sorted(made)]


def by_bytes(item: RemoteObject | Record) -> bytes:
    return (item.key if isinstance(item, RemoteObject) else item.name).encode()


LISTINGS = st.lists(st.builds(remote, NAMES, SIZES, ETAGS), max_size=8, unique_by=by_bytes)
RECORDS = st.lists(
    st.builds(record, NAMES, SIZES, TIMES, ETAGS, st.sampled_from(Verified)), max_size=8, unique_by=by_bytes
)


@given(entries(), LISTINGS, RECORDS, st.sampled_from(SyncLevel))
def test_the_stream_decides_as_a_naive_dictionary_does(
    tree: list[Entry], listing: list[RemoteObject], known: list[Record], level: SyncLevel
) -> None:
    listed = {each.key.removeprefix("p/"): each for each in listing}
    records = {each.name: each for each in known}
    expected: dict[str, Decision] = {name: Extra(name) for name in listed}
    for entry in tree:
        name = entry.name + "/" if isinstance(entry, LeftOut) and entry.folder else entry.name
        expected[name] = decide(entry, listed.get(name), records.get(name), level)
    made = list(plan(tree, sorted(listing, key=by_bytes), sorted(known, key=by_bytes), location=HERE, sync_level=level))
    assert {each.name: each for each in made} == expected
    assert [each.name.encode() for each in made] == sorted(name.encode() for name in expected)


@given(entries(), LISTINGS, st.sampled_from(SyncLevel))
def test_a_plan_applied_twice_is_empty(tree: list[Entry], listing: list[RemoteObject], level: SyncLevel) -> None:
    s3 = {each.key: each for each in listing}
    manifest: list[Record] = []
    for decision in plan(tree, sorted(listing, key=by_bytes), [], location=HERE, sync_level=level):
        if isinstance(decision, Upload | Compare):
            file = decision.file
            sent = remote(file.name, file.size)
            s3[sent.key] = sent
            manifest.append(record(file.name, file.size, file.mtime_ns))
        elif isinstance(decision, Skip | Leave):
            manifest.append(decision.record)
    again = list(plan(tree, sorted(s3.values(), key=by_bytes), manifest, location=HERE, sync_level=level))
    assert not [each for each in again if isinstance(each, Upload)]
    compared = [each for each in again if isinstance(each, Compare)]
    assert level is SyncLevel.CHECKSUM or not compared
    assert all(each.record is not None for each in compared)
    kept = [each.record for each in again if isinstance(each, Skip | Leave | Compare)]
    assert kept == manifest
