"""What a dataset costs, counted: requests of each kind, calls to the file system, bytes read. No clock is asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bulkhaul.errors import Stopped
from bulkhaul.s3.token import Token
from bulkhaul.transfer.dataset import TransferOptions
from jobs_on_stub import connect_to, make_jobs, run_worker
from os_calls import counted_calls
from servers.stub_s3 import StubS3
from transfer.real import MIB, real_connection
from transfer.rig import Rig, write_tree

FILES, FOLDERS, PAGE = 120, 6, 50
FOR_ITS_PLACE = 2  # looks at the dataset itself, for its real path: by the transfer and by the walk
PAGES = 3  # of a listing of all files
PART = 5 * MIB
LARGE = 4 * PART + 1


def small_files() -> dict[str, bytes]:
    """Files of 0 to 119 bytes."""
    return {f"{number % FOLDERS}/{number:03}": bytes(number) for number in range(FILES)}


@pytest.fixture(params=["obstore", "s3transfer"])
def rig(request: pytest.FixtureRequest, tmp_path: Path, stub: StubS3) -> Rig:
    """A transfer to the stub, which lists in byte order, 50 keys a page."""
    stub.store.page_size = PAGE
    issued = stub.tokens.issue(None)
    keys = Token(issued.access_key, issued.secret_key, issued.session_token)
    options = TransferOptions(multipart_threshold=PART, part_size=PART, max_concurrency=8)
    made = Rig(tmp_path, real_connection(stub.url, "bucket", request.param, keys), options)
    write_tree(made.source, small_files())
    return made


def stop_when(rig: Rig, stub: StubS3, operation: str, times: int) -> None:
    """Run until so many requests of an operation were answered."""

    def gate() -> None:
        if stub.log.counts()[operation] >= times:
            raise Stopped("worker", "for a test", "again")

    rig.gate = gate
    with pytest.raises(Stopped):
        rig.transfer()
    rig.gate = lambda: None


def test_requests_of_a_first_run_and_of_one_that_finds_all_there(rig: Rig, stub: StubS3) -> None:
    assert rig.transfer().ok
    # One page of an empty prefix for the plan, all pages for the proof, one for the manifest's place.
    assert stub.log.counts() == {"PutObject": FILES + 1, "ListObjectsV2": 1 + PAGES + 1}
    stub.log.clear()
    assert rig.transfer().ok
    assert stub.log.counts() == {"ListObjectsV2": PAGES + 1}, "no HEAD, no second listing, no manifest sent again"


def test_requests_of_a_run_that_goes_on_are_those_of_what_is_missing(rig: Rig, stub: StubS3) -> None:
    stop_when(rig, stub, "PutObject", FILES // 2)
    arrived = stub.log.statuses("PutObject").count(200)
    assert FILES // 2 <= arrived < FILES
    pages = -(-arrived // PAGE)
    stub.log.clear()
    assert rig.transfer().ok
    assert stub.log.counts() == {"PutObject": FILES - arrived + 1, "ListObjectsV2": pages + PAGES + 1}


def test_requests_of_a_run_without_any_record_of_what_is_there(rig: Rig, stub: StubS3) -> None:
    assert rig.transfer().ok
    rig.manifest.unlink()
    stub.log.clear()
    assert rig.transfer().ok
    # The ETags are MD5s, so none needs a HEAD; the manifest now says "same content".
    assert stub.log.counts() == {"PutObject": 1, "ListObjectsV2": PAGES + 1}


def test_a_worker_with_nothing_to_send_lists_once_and_looks_twice_more(tmp_path: Path, stub: StubS3) -> None:
    stub.store.page_size = PAGE
    joblist = make_jobs(tmp_path, "a")
    write_tree(tmp_path / "a", small_files())
    assert run_worker(joblist, connect_to(stub)).succeeded == ["a"]
    joblist.set_todo("a", "for a test")
    stub.log.clear()
    assert run_worker(joblist, connect_to(stub)).succeeded == ["a"]
    # The limit is files/1000 + 2 with 1,000 keys a page: the plan, the worker's trial of its rights, the manifest.
    pages = -(-(FILES + 1) // PAGE)
    assert stub.log.counts() == {"ListObjectsV2": pages + 2, "PutObject": 1, "DeleteObject": 1}


def test_a_small_file_costs_four_calls_to_be_sent_and_one_to_be_planned(rig: Rig) -> None:
    with counted_calls(rig.source) as calls:
        assert rig.transfer().ok
    each = {"lstat": FOR_ITS_PLACE + FILES, "open": FILES, "read": FILES, "fstat": FILES, "close": FILES + FOLDERS + 1}
    assert calls.counts() == {**each, "folder": FOLDERS + 1, "scandir": FOLDERS + 1}
    assert max(Counter(calls.opened()).values()) == 1
    assert sum(calls.nbytes_read) == sum(map(len, small_files().values())), "each byte is read once"


def test_what_is_there_already_is_not_opened(rig: Rig) -> None:
    assert rig.transfer().ok
    with counted_calls(rig.source) as calls:
        assert rig.transfer().ok
    listed = dict.fromkeys(("folder", "scandir", "close"), FOLDERS + 1)
    assert calls.counts() == {"lstat": FOR_ITS_PLACE + FILES, **listed}


def test_a_file_that_no_record_tells_of_is_read_once(rig: Rig) -> None:
    assert rig.transfer().ok
    rig.manifest.unlink()
    with counted_calls(rig.source) as calls:
        assert rig.transfer().ok
    assert sum(calls.nbytes_read) == sum(map(len, small_files().values()))
    assert calls.counts()["open"] == FILES


def test_a_large_file_is_read_twice_and_a_part_that_is_there_once(rig: Rig, stub: StubS3) -> None:
    write_tree(rig.source, {"large": bytes(LARGE)})
    stop_when(rig, stub, "UploadPart", 1)
    stored = [int(entry.query["partNumber"]) for entry in stub.log.entries if entry.operation == "UploadPart"]
    there = sum(PART if number <= LARGE // PART else LARGE % PART for number in stored)
    assert 0 < there < LARGE
    stub.log.clear()
    with counted_calls(rig.source / "large") as calls:
        assert rig.transfer().ok
    assert stub.log.counts()["UploadPart"] == 5 - len(stored)
    # What is sent is read for its checksum, then as the body; what is there for the comparison alone.
    assert sum(calls.nbytes_read) == there + 2 * (LARGE - there)
    with counted_calls(rig.source / "large") as calls:
        assert rig.transfer().ok
    assert calls.counts() == {"lstat": 1}
