from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import StorageError
from bulkhaul.transfer.journal import Journal
from bulkhaul.transfer.manifest import Outcome, Record
from bulkhaul.transfer.manifest_file import write_manifest
from bulkhaul.transfer.merging import earlier_records, read_partial, sorted_records

A = Record("a", Outcome.SENT, "", 1, 10, 10, "old", "crc")
VERSION = {"size": 5, "mtime_ns": 6, "ctime_ns": 7}


def written(path: Path, *records: Record) -> Path:
    with Journal(path) as journal:
        for record in records:
            journal.append(record)
    return path


def test_appended_records_come_back_in_their_order(tmp_path: Path) -> None:
    path = written(tmp_path / "p", A._replace(name="b"), A)
    assert [record.name for record in read_partial(path)] == ["b", "a"]


def test_many_threads_lose_no_record(tmp_path: Path) -> None:
    with Journal(tmp_path / "p") as journal:

        def append(number: int) -> None:
            for index in range(1_000):
                journal.append(A._replace(name=f"{number}/{index}"))

        threads = [threading.Thread(target=append, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({record.name for record in read_partial(tmp_path / "p")}) == 8_000


@pytest.mark.parametrize("cut", range(2, 40))
def test_a_torn_last_line_is_ignored_and_the_next_generation_appends_behind_it(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "p", A, A._replace(name="b"))
    path.write_bytes(path.read_bytes()[:-cut])
    assert [record.name for record in read_partial(path)] == ["a"]
    written(path, A._replace(name="c"))
    assert [record.name for record in read_partial(path)] == ["a", "c"]


def test_rubbish_of_a_crashed_node_is_ignored(tmp_path: Path) -> None:
    path = written(tmp_path / "p", A)
    with path.open("ab") as file:
        file.write(
            b'\0\0\0\0\n{"name":"x","outcome":3}\n{"upload":{"key":"k"}}\n{"gone":[]}\n{"upload":{"key":[],"upload_id":[],"part_size":1,"size":1,"mtime_ns":1,"ctime_ns":1}}\n{"upload":3}\n'
        )
    written(path, A._replace(name="b"))
    assert [record.name for record in read_partial(path)] == ["a", "b"]


def test_a_stretch_of_the_file_has_its_own_records(tmp_path: Path) -> None:
    with Journal(tmp_path / "p") as journal:
        journal.append(A)
        start = journal.flush()
        journal.append(A._replace(name="b"))
        end = journal.flush()
        journal.append(A._replace(name="c"))
    assert [record.name for record in read_partial(tmp_path / "p", start=start, end=end)] == ["b"]


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = Journal(tmp_path / "p")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # what a quota does: no byte more
    try:
        with pytest.raises(StorageError, match="File too large"):
            for number in range(1_000):
                journal.append(A._replace(name=str(number)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    journal.close()


def test_a_file_that_takes_less_than_it_is_given_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))  # as on a disk that is nearly full
        path = written(tmp_path / "p", *(A._replace(name=f"{number:03}") for number in range(300)))
    assert [record.name for record in read_partial(path)] == [f"{number:03}" for number in range(300)]


def test_uploads_are_found_by_later_generations_for_the_same_version_only(tmp_path: Path) -> None:
    with Journal(tmp_path / "1") as journal:
        journal.begun("p/large", "id-1", 16, **VERSION)
        journal.begun("p/other", "id-2", 16, **VERSION)
        journal.gone("p/other")
    with Journal(tmp_path / "2", earlier=[tmp_path / "1"]) as journal:
        assert journal.find("p/large", **VERSION) == ("id-1", 16)
        assert journal.find("p/large", **{**VERSION, "mtime_ns": 8}) is None
        assert journal.find("p/other", **VERSION) is None
        assert [upload.upload_id for upload in journal.parked()] == ["id-1"]
        journal.gone("p/other")  # it went on with none of that key
        assert journal.find("p/large", **VERSION) == ("id-1", 16)
        journal.gone("p/large")
    with Journal(tmp_path / "3", earlier=[tmp_path / "1", tmp_path / "2"]) as journal:
        assert journal.parked() == ()


def test_an_older_version_of_a_file_leaves_its_upload_parked(tmp_path: Path) -> None:
    with Journal(tmp_path / "1") as journal:
        journal.begun("p/large", "old", 16, **VERSION)
    with Journal(tmp_path / "2", earlier=[tmp_path / "1"]) as journal:
        journal.begun("p/large", "new", 16, **{**VERSION, "size": 6})
        journal.gone("p/large")
    with Journal(tmp_path / "3", earlier=[tmp_path / "1", tmp_path / "2"]) as journal:
        (left,) = journal.parked()
        assert left.upload_id == "old"
        journal.ended(left)
        assert journal.parked() == ()


def test_an_upload_is_on_disk_before_its_first_part(tmp_path: Path) -> None:
    with Journal(tmp_path / "1") as journal:
        journal.begun("p/large", "id-1", 16, **VERSION)
        assert b"id-1" in (tmp_path / "1").read_bytes()


def test_an_upload_whose_id_was_lost_is_remembered_until_the_success(tmp_path: Path) -> None:
    before = time.time()
    with Journal(tmp_path / "1") as journal:
        journal.beginning("p/known")
        journal.begun("p/known", "id-1", 16, **VERSION)
        assert journal.nameless() == {}
        journal.beginning("p/lost")
        journal.unanswered("p/lost")
        journal.begun("p/lost", "id-2", 16, **VERSION)
        assert list(journal.nameless()) == ["p/lost"]
        journal.beginning("p/killed")
        assert b"p/killed" in (tmp_path / "1").read_bytes(), "kill -9 here"
    with Journal(tmp_path / "2", earlier=[tmp_path / "1"]) as journal:
        journal.beginning("p/killed")
        journal.begun("p/killed", "id-3", 16, **VERSION)
    with Journal(tmp_path / "3", earlier=[tmp_path / "1", tmp_path / "2"]) as journal:
        assert sorted(journal.nameless()) == ["p/killed", "p/lost"]
        assert all(before <= since <= time.time() for since in journal.nameless().values())


def test_what_hung_in_a_request_may_still_append_after_the_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "p")
    journal.close()
    for _ in range(1_000):
        journal.append(A)
    assert (tmp_path / "p").read_bytes() == b""


NAMES = st.text(st.sampled_from("ab\n\x01\x02\x0b\x1a/é"), min_size=1, max_size=3)
PARTS = st.lists(st.lists(st.builds(lambda name, size: A._replace(name=name, size=size), NAMES, st.integers(0, 9))))


@given(PARTS)
def test_records_come_sorted_and_the_last_of_a_name_counts(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Record]]
) -> None:
    expected = {record.name: record for part in parts for record in part}
    made = list(sorted_records(parts, folder=tmp_path_factory.getbasetemp()))
    assert made == sorted(expected.values(), key=lambda record: record.order)


def test_later_generations_win_over_the_final_manifest(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m", [A, A._replace(name="b")], before_replace=lambda: None)
    one = written(tmp_path / "1", A._replace(etag="one"), A._replace(name="c"))
    two = written(tmp_path / "2", A._replace(etag="two"))
    made = earlier_records(tmp_path / "m", [one, two, tmp_path / "none"], folder=tmp_path, note=pytest.fail)
    assert [(record.name, record.etag) for record in made] == [("a", "two"), ("b", "old"), ("c", "old")]


def test_a_torn_record_does_not_hide_an_older_whole_one(tmp_path: Path) -> None:
    path = written(tmp_path / "p", A, A._replace(name="b"))
    with path.open("ab") as file:
        file.write(b'{"name":"a","outcome":"se\x00\x00\n{"name":"b","outcome":"sent"\n')
    assert list(earlier_records(tmp_path / "m", [path], folder=tmp_path, note=pytest.fail)) == [
        A,
        A._replace(name="b"),
    ]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a/\u00e9", "caf\udce9", "a\tb", "{}", '{"name":"x"'])
def test_a_name_with_an_escape_is_sorted_by_its_bytes(tmp_path: Path, name: str) -> None:
    records = [A._replace(name=each) for each in (name, "a", "zz", "A")]
    path = written(tmp_path / "p", *records)
    made = earlier_records(tmp_path / "m", [path], folder=tmp_path, note=pytest.fail)
    assert list(made) == sorted(records, key=lambda record: record.order)


def test_a_damaged_final_manifest_counts_as_absent_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"rubbish")
    notes: list[str] = []
    one = written(tmp_path / "1", A)
    assert list(earlier_records(tmp_path / "m", [one], folder=tmp_path, note=notes.append)) == [A]
    assert len(notes) == 1
    assert "counts as absent" in notes[0]
