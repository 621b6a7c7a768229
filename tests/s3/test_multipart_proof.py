"""Nothing that S3 says of a large file is believed without proof, and no changed file becomes an object."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bulkhaul import errors
from bulkhaul.s3.engine import once
from s3.expected import KEY, crc, etag_of
from s3.large import PART, FileJournal, fast_repeat, send
from servers.stub import script
from servers.stub_s3 import StubS3


def test_a_damaged_part_is_read_and_sent_again_once(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    stub.script.plan("UploadPart", script.refuse(400, "BadDigest"))

    assert send(stub_client, "bucket", file, journal).parts_sent == 4
    assert stub.log.counts()["UploadPart"] == 5

    stub.script.plan("UploadPart", script.refuse(400, "BadDigest"), times=2)
    with pytest.raises(errors.IntegrityFailed):
        send(stub_client, "bucket", file, journal, threads=1)


def test_each_part_and_the_whole_carry_their_checksums(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    send(stub_client, "bucket", file, journal, threads=1)

    asked = {one.operation: one.headers for one in stub.log.entries}
    assert asked["CreateMultipartUpload"]["x-amz-checksum-algorithm"] == "CRC64NVME"
    assert asked["CreateMultipartUpload"]["x-amz-checksum-type"] == "FULL_OBJECT"
    assert asked["UploadPart"]["x-amz-checksum-crc64nvme"] == crc(file.read_bytes()[3 * PART :])
    assert asked["CompleteMultipartUpload"]["x-amz-checksum-crc64nvme"] == crc(file.read_bytes())
    assert "expect" not in asked["UploadPart"]


def test_without_checksums_md5_guards_each_part(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    result = send(stub_client, "bucket", file, journal, checksums=False)

    assert all(not name.startswith("x-amz-checksum-c") for one in stub.log.entries for name in one.headers)
    assert all("content-md5" in one.headers for one in stub.log.entries if one.operation == "UploadPart")
    assert (result.etag, result.crc64nvme) == (etag_of(file.read_bytes()), crc(file.read_bytes()))


@pytest.mark.parametrize("act", [script.lose_answer(), script.error_in_200(committed=True)], ids=["lost", "error"])
@pytest.mark.parametrize("repeat", [once, fast_repeat(None)], ids=["once", "repeated"])
def test_where_the_answer_of_complete_is_lost_the_object_decides(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal, act: script.Act, repeat: Any
) -> None:
    stub.script.plan("CompleteMultipartUpload", act)

    result = send(stub_client, "bucket", file, journal, repeat=repeat)

    assert result.etag == etag_of(file.read_bytes())
    assert stub.log.counts()["HeadObject"] == 1
    assert stub.log.counts()["CreateMultipartUpload"] == 1
    assert journal.noted() == {}


@pytest.mark.parametrize("act", [script.reset(), script.error_in_200()], ids=["reset", "error in 200"])
def test_a_complete_that_was_not_done_is_repeated_or_reported(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal, act: script.Act
) -> None:
    stub.store.put("bucket", KEY, b"an older object")
    stub.script.plan("CompleteMultipartUpload", act)

    with pytest.raises(errors.Transient):
        send(stub_client, "bucket", file, journal, repeat=once)
    assert stub.store.buckets["bucket"][KEY].body == b"an older object"

    stub.script.plan("CompleteMultipartUpload", act)
    assert send(stub_client, "bucket", file, journal).parts_adopted == 4
    assert stub.store.buckets["bucket"][KEY].body == file.read_bytes()


def test_an_upload_whose_id_was_lost_is_noted_to_be_ended_later(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    stub.script.plan("CreateMultipartUpload", script.slow_down())
    send(stub_client, "bucket", file, journal)
    assert "unanswered" not in journal.events, "a refusal has begun nothing"

    stub.script.plan("CreateMultipartUpload", script.lose_answer())
    send(stub_client, "bucket", file, journal)
    assert journal.events.count("unanswered") == 1
    assert len(stub.store.uploads) == 1


def test_a_lost_answer_without_the_right_to_look_is_no_success(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    stub.denied.add("HeadObject")
    stub.script.plan("CompleteMultipartUpload", script.lose_answer())

    with pytest.raises(errors.Transient):
        send(stub_client, "bucket", file, journal, repeat=once)


def test_a_whole_that_is_not_what_was_sent_is_no_success(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    def damage(_request: Any, serve: Callable[[], Any]) -> Any:
        answer = serve()
        whole = stub.store.buckets["bucket"][KEY]
        stub.store.put("bucket", KEY, b"?" + whole.body[1:])
        broken = answer.body.replace(whole.crc64nvme.encode(), b"AAAAAAAAAAA=")
        return type(answer)(answer.status, broken, answer.headers)

    stub.script.plan("CompleteMultipartUpload", damage)

    with pytest.raises(errors.IntegrityFailed, match="prove"):
        send(stub_client, "bucket", file, journal)


def changing(file: Path, change: Callable[[Path], None], *, at: int) -> Callable[[], None]:
    """A gate that changes the file at its call number `at`."""
    calls = [0]

    def gate() -> None:
        calls[0] += 1
        if calls[0] == at:
            change(file)

    return gate


def grow(file: Path) -> None:
    with file.open("ab") as out:
        out.write(b"more")


def touch_inside(file: Path) -> None:
    with file.open("r+b") as out:
        out.write(b"?")


def shrink(file: Path) -> None:
    os.truncate(file, 100)


def replace(file: Path) -> None:
    other = file.with_suffix(".other")
    other.write_bytes(b"?" * file.stat().st_size)
    other.replace(file)


@pytest.mark.parametrize("change", [grow, touch_inside, shrink, replace])
@pytest.mark.parametrize("at", [2, 12])
def test_a_file_that_changes_on_the_way_never_becomes_an_object(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal, change: Callable[[Path], None], at: int
) -> None:
    with pytest.raises(errors.SourceChanged):
        send(stub_client, "bucket", file, journal, gate=changing(file, change, at=at), threads=1)

    assert stub.store.buckets["bucket"] == {}
    assert stub.log.counts()["CompleteMultipartUpload"] == 0


def test_a_file_that_shrinks_between_checksum_and_sending_is_told_at_once(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    begun = time.monotonic()
    # The gate of the repetition is passed for the upload's beginning and then for the first part, after its checksum.
    repeat = fast_repeat(None, gate=changing(file, shrink, at=2))

    with pytest.raises(errors.SourceChanged):
        send(stub_client, "bucket", file, journal, repeat=repeat, threads=1)
    assert time.monotonic() - begun < 5


@pytest.mark.slow
def test_a_stopped_process_ends_within_its_grace_though_its_part_hangs(
    stub: StubS3, file: Path, tmp_path: Path
) -> None:
    keys, noted = stub.tokens.issue(None), tmp_path / "journal.json"
    stub.script.plan("UploadPart", stub.script.hang(100), times=100)
    command = [sys.executable, "-m", "s3.large", stub.url, "bucket", str(file), str(noted)]
    with subprocess.Popen([*command, keys.access_key, keys.secret_key], cwd=Path(__file__).parents[1]) as child:
        try:
            deadline = time.monotonic() + 30
            while not stub.script.met and time.monotonic() < deadline:
                time.sleep(0.02)
            child.terminate()
            assert child.wait(25) == errors.Stopped.exit_code, "the grace is 8 s, the read timeout 60 s"
        finally:
            child.kill()
    assert list(FileJournal(noted).noted()) == [KEY]


def test_a_fault_that_no_repetition_cures_ends_the_upload_and_parks_it(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    stub.script.plan("UploadPart", script.refuse(403, "AccessDenied"))

    with pytest.raises(errors.AccessDenied) as caught:
        send(stub_client, "bucket", file, journal, threads=1)

    assert caught.value.thing == "s3://bucket/lab/large"
    assert stub.log.counts()["UploadPart"] <= 2
    assert list(journal.noted()) == [KEY]
    assert stub.log.counts()["AbortMultipartUpload"] == 0
