from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import ClaimLost
from bulkhaul.sources.tree import LocalFile
from bulkhaul.transfer.manifest import Outcome, Record, Verified, decode, encode
from bulkhaul.transfer.manifest_file import DamagedManifest, read_manifest, write_manifest

A = Record("a", Outcome.SENT, "", 3, 10, 11, "etag", "crc", Verified.PUT)
B = Record("b", Outcome.SKIPPED, "symlink")
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=()), min_size=1)
RECORDS = st.builds(
    Record,
    NAMES,
    st.sampled_from(Outcome),
    st.text(),
    st.integers(0),
    st.integers(1),
    st.integers(0),
    st.text(min_size=1),
    st.text(),
    st.sampled_from(Verified),
)


@given(RECORDS)
def test_a_record_survives_its_line(record: Record) -> None:
    line = encode(record)
    assert decode(line) == record
    assert b"\n" not in line


def test_a_name_that_is_not_utf8_survives() -> None:
    record = B._replace(name="caf\udce9")
    assert decode(encode(record)) == record
    assert record.order == b"caf\xe9"


def test_an_empty_file_keeps_its_version() -> None:
    record = Record("empty", Outcome.FAILED, "why", 0, 5, 6)
    assert decode(encode(record)) == record
    assert record.describes(LocalFile("empty", 0, 5, 6, 1))


def test_keys_of_a_later_version_are_ignored() -> None:
    assert decode(encode(A)[:-1] + b',"later":1}') == A


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"[]", b"3", b"{}", b"\0\0", b"\xff\xfe", b'{"name":"a'),
        *(b'{"name":1}', b'{"name":"a"}', b'{"name":"a","outcome":"lost"}'),
        *(b'{"name":"a","outcome":"sent","size":null}', b'{"name":"a","outcome":"sent","size":"x"}'),
        *(b'{"name":"a","outcome":"sent","size":""}', b'{"name":"a","outcome":"sent","mtime_ns":""}'),
    ],
)
def test_what_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(line)


def keep() -> None:
    pass


def test_equal_records_make_equal_bytes_whatever_the_time_and_path(tmp_path: Path) -> None:
    one, two = tmp_path / "one.gz", tmp_path / "sub" / "two.gz"
    two.parent.mkdir()
    first = write_manifest(one, [A, B], before_replace=keep)
    second = write_manifest(two, [A, B], before_replace=keep)
    assert one.read_bytes() == two.read_bytes()
    assert first == second == hashlib.sha256(one.read_bytes()).hexdigest()
    assert one.read_bytes()[4:8] == b"\0\0\0\0", "a time in the gzip header"
    assert gzip.decompress(one.read_bytes()) == encode(A) + b"\n" + encode(B) + b"\n"


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "m.gz"
    write_manifest(path, [A, B], before_replace=keep)
    assert list(read_manifest(path)) == [A, B]
    assert [each.name for each in tmp_path.iterdir()] == ["m.gz"]


def test_a_lost_claim_leaves_the_old_manifest_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.gz"
    write_manifest(path, [A], before_replace=keep)

    def lost() -> None:
        raise ClaimLost("job", "a newer generation owns it", "leave it")

    with pytest.raises(ClaimLost):
        write_manifest(path, [A, B], before_replace=lost)
    assert list(read_manifest(path)) == [A]
    assert [each.name for each in tmp_path.iterdir()] == ["m.gz"]


def packed(*lines: bytes) -> bytes:
    return gzip.compress(b"".join(line + b"\n" for line in lines))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not gzip",
        packed(encode(A), encode(B))[:-9],
        packed(encode(A))[:-8] + b"\0" * 8,
        packed(b"{}"),
        packed(encode(B), encode(A)),
        packed(encode(A), encode(A)),
    ],
    ids=["empty", "text", "cut", "wrong sum", "no record", "out of order", "twice"],
)
def test_a_damaged_manifest_is_known_as_one(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.gz"
    path.write_bytes(data)
    with pytest.raises(DamagedManifest):
        list(read_manifest(path))
