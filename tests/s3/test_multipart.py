"""A large file arrives whole, whoever was killed on the way, and nothing that S3 says is believed without proof."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul import errors
from bulkhaul.s3.checksums import crc64nvme, encode_crc64nvme
from bulkhaul.s3.client import S3Options, make_client
from bulkhaul.s3.credentials import CredentialSource, Grant, Token
from bulkhaul.s3.engine import once
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.multipart import abort_upload, upload_large
from bulkhaul.s3.parts import LARGEST_OBJECT, MOST_PARTS, PartBody, Span, open_file, part_size_for, spans_of
from bulkhaul.s3.retry import open_gate
from s3.large import MIB, PART, FileJournal, fast_repeat, make_file, send
from s3.reach import client_for
from servers.seaweed import ADMIN, Seaweed
from servers.stub import script
from servers.stub_s3 import Front, StubS3

GIB, TIB = 2**30, 2**40
KEY = "lab/large"


def etag_of(data: bytes, part_size: int = PART) -> str:
    """The ETag that S3 gives to `data` in such parts; worked out without the code under test."""
    pieces = [data[start : start + part_size] for start in range(0, len(data), part_size)]
    md5s = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    return f"{hashlib.md5(md5s).hexdigest()}-{len(pieces)}"


def crc_of(data: bytes) -> str:
    return encode_crc64nvme(crc64nvme(data))


@pytest.fixture
def client(s3_server: Seaweed) -> Any:
    return client_for(s3_server.url, ADMIN.access_key, ADMIN.secret_key)


@pytest.fixture
def stub_client(stub: StubS3) -> Any:
    token = stub.tokens.issue(None)
    return client_for(stub.url, token.access_key, token.secret_key, max_connections=8)


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    return FileJournal(tmp_path / "journal.json")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four parts, the last one short."""
    return make_file(tmp_path / "large.bin", 3 * PART + 12_345)


# --- arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "wanted", "part_size", "parts"),
    [
        (1, 16 * MIB, 16 * MIB, 1),
        (16 * MIB, 16 * MIB, 16 * MIB, 1),
        (16 * MIB + 1, 16 * MIB, 16 * MIB, 2),
        (20 * MIB, 1 * MIB, 5 * MIB, 4),
        (5 * GIB, 16 * MIB, 16 * MIB, 320),
        (5 * GIB + 1, 64 * MIB, 64 * MIB, 81),
        (10_000 * 16 * MIB, 16 * MIB, 16 * MIB, 10_000),
        (10_000 * 16 * MIB + 1, 16 * MIB, 32 * MIB, 5_001),
        (5 * TIB, 16 * MIB, 1024 * MIB, 5_120),
        (5 * TIB, 64 * MIB, 1024 * MIB, 5_120),
    ],
)
def test_parts_stay_within_the_limits_of_s3(size: int, wanted: int, part_size: int, parts: int) -> None:
    chosen = part_size_for(size, wanted, thing="file")

    assert (chosen, len(spans_of(size, chosen))) == (part_size, parts)


@given(st.integers(1, LARGEST_OBJECT), st.sampled_from([5, 16, 17, 33, 64]))
def test_any_size_is_covered_exactly_by_parts_that_s3_takes(size: int, wanted: int) -> None:
    part_size = part_size_for(size, wanted * MIB, thing="file")
    spans = spans_of(size, part_size)

    assert 1 <= len(spans) <= MOST_PARTS
    assert part_size % MIB == 0
    assert 5 * MIB <= part_size <= 5 * GIB
    assert [span.number for span in spans] == list(range(1, len(spans) + 1))
    assert all(span.start == before.start + before.length for before, span in pairwise(spans))
    assert spans[0].start == 0
    assert spans[-1].start + spans[-1].length == size
    assert all(span.length == part_size for span in spans[:-1])


def test_a_file_above_5_tib_is_refused_in_one_line_before_anything_is_asked(journal: FileJournal) -> None:
    with pytest.raises(errors.ObjectRefused, match="5 TiB") as caught:
        upload_large(
            None,
            "bucket",
            KEY,
            Path("/data/huge.bin"),
            size=LARGEST_OBJECT + 1,
            part_size=16 * MIB,
            journal=journal,
            repeat=once,
            gate=open_gate,
            on_bytes=lambda _count: None,
        )
    assert "/data/huge.bin" in str(caught.value)


@given(st.integers(0, 100), st.integers(0, 100), st.lists(st.integers(1, 40), max_size=10))
def test_a_body_reads_its_stretch_of_the_file_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, reads: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "stretch.bin"
    data = bytes(range(200))
    path.write_bytes(data)
    wanted = data[start : start + length]
    with open_file(path, size=200) as opened:
        body = PartBody(opened, Span(1, start, length))
        pieces = b"".join(body.read(most) for most in reads)
        assert pieces == wanted[: sum(reads)]
        assert body.tell() == len(pieces)
        assert pieces + body.read() == wanted
        assert body.read() == b""
        assert body.seek(0) == 0
        assert body.read(-1) == wanted
        assert (len(body), body.seek(0, os.SEEK_END)) == (length, length)


# --- on the real server ----------------------------------------------------------------------------------------------


def test_a_large_file_arrives_with_the_etag_and_the_checksum_of_its_bytes(
    client: Any, s3_server: Seaweed, bucket: str, file: Path, journal: FileJournal
) -> None:
    counts: list[int] = []
    result = send(client, bucket, file, journal, on_bytes=counts.append)

    data = file.read_bytes()
    assert (result.etag, result.crc64nvme) == (etag_of(data), crc_of(data))
    assert (result.parts_sent, result.parts_adopted) == (4, 0)
    stored = s3_server.client().get_object(Bucket=bucket, Key=KEY, ChecksumMode="ENABLED")
    assert stored["Body"].read() == data
    assert (stored["ETag"], stored["ChecksumCRC64NVME"]) == (f'"{result.etag}"', result.crc64nvme)
    assert sorted(counts) == [12_345, PART, PART, PART]
    assert journal.noted() == {}
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)


def test_a_killed_process_leaves_parts_that_the_next_one_adopts(
    client: Any, s3_server: Seaweed, bucket: str, tmp_path: Path
) -> None:
    file = make_file(tmp_path / "large.bin", 8 * PART + 1)
    noted = tmp_path / "journal.json"
    command = [sys.executable, "-m", "s3.large", s3_server.url, bucket, str(file), str(noted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as child:
        assert child.stdout is not None
        sent = [child.stdout.readline() for _ in range(3)]
        child.kill()
    assert all(sent)
    assert child.returncode == -9
    assert "Contents" not in s3_server.client().list_objects_v2(Bucket=bucket)

    result = send(client, bucket, file, FileJournal(noted))

    assert result.parts_adopted >= 3
    assert result.parts_sent + result.parts_adopted == 9
    assert result.etag == etag_of(file.read_bytes())
    assert s3_server.client().get_object(Bucket=bucket, Key=KEY)["Body"].read() == file.read_bytes()
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)


def test_a_token_that_ends_again_and_again_costs_nothing_but_renewals(
    s3_server: Seaweed, bucket: str, tmp_path: Path, journal: FileJournal
) -> None:
    file = make_file(tmp_path / "large.bin", 8 * PART)
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as stub:

        def provider(_location: S3Location) -> Grant:
            issued = stub.tokens.issue(0.4)
            # It claims a later end than it has, so that only S3's refusal tells.
            late = datetime.fromtimestamp((issued.ends_at or 0) + 3600, UTC)
            return Grant(Token(issued.access_key, issued.secret_key, issued.session_token, late))

        source = CredentialSource(provider, S3Location(bucket))
        stub.script.plan("UploadPart", stub.script.hang(0.25), times=8)
        client = make_client("s3", S3Options(endpoint_url=stub.url), source=source)
        result = send(client, bucket, file, journal, repeat=fast_repeat(source), threads=2)

        assert stub.log.statuses("UploadPart").count(400) >= 2
        assert stub.log.counts()["CreateMultipartUpload"] - stub.log.statuses("CreateMultipartUpload").count(400) == 1
        assert stub.tokens.issued >= 3
    assert result.etag == etag_of(file.read_bytes())
    assert s3_server.client().get_object(Bucket=bucket, Key=KEY)["Body"].read() == file.read_bytes()


def test_memory_does_not_grow_with_the_parts(client: Any, bucket: str, tmp_path: Path, journal: FileJournal) -> None:
    file = make_file(tmp_path / "large.bin", 96 * MIB)
    tracemalloc.start()
    try:
        send(client, bucket, file, journal, part_size=24 * MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 16 * MIB


def test_two_workers_on_one_upload_both_end_with_the_whole_object(
    client: Any, s3_server: Seaweed, bucket: str, file: Path, journal: FileJournal, tmp_path: Path
) -> None:
    with pytest.raises(errors.Stopped):
        send(client, bucket, file, journal, gate=stop_after(journal))
    (tmp_path / "other.json").write_text((tmp_path / "journal.json").read_text())

    with ThreadPoolExecutor(2) as pool:
        journals = [journal, FileJournal(tmp_path / "other.json")]
        results = list(pool.map(lambda one: send(client, bucket, file, one), journals))

    assert {result.etag for result in results} == {etag_of(file.read_bytes())}
    assert s3_server.client().get_object(Bucket=bucket, Key=KEY)["Body"].read() == file.read_bytes()


def test_parked_parts_stay_until_they_are_given_up(
    client: Any, s3_server: Seaweed, bucket: str, file: Path, journal: FileJournal
) -> None:
    with pytest.raises(errors.Stopped):
        send(client, bucket, file, journal, gate=stop_after(journal))
    upload_id = journal.noted()[KEY]["upload_id"]
    left = s3_server.client().list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [one["UploadId"] for one in left] == [upload_id]

    abort_upload(client, bucket, KEY, upload_id)
    abort_upload(client, bucket, KEY, upload_id)

    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)
    assert send(client, bucket, file, journal).parts_sent == 4
    assert journal.events == ["begun", "gone", "begun", "gone"]


def stop_after(journal: FileJournal, calls: int = 0) -> Callable[[], None]:
    """A gate that closes `calls` calls after an upload was begun."""
    left = [calls]
    lock = threading.Lock()

    def gate() -> None:
        with lock:
            if "begun" in journal.events:
                left[0] -= 1
                if left[0] < 0:
                    raise errors.Stopped("worker", "its time is over", "run it again")

    return gate


# --- resuming, with a server that tells what it was asked ------------------------------------------------------------


def part_numbers(stub: StubS3) -> list[int]:
    """The parts that were sent, in order."""
    return [int(one.query["partNumber"]) for one in stub.log.entries if one.operation == "UploadPart"]


def park(stub: StubS3, client: Any, file: Path, journal: FileJournal, parts: int) -> str:
    """Send the first `parts` parts and stop; return the upload's id."""
    sent = [0]

    def count(_bytes: int) -> None:
        sent[0] += 1

    def gate() -> None:
        if len(part_numbers(stub)) >= parts:
            raise errors.Stopped("worker", "its time is over", "run it again")

    with pytest.raises(errors.Stopped):
        send(client, "bucket", file, journal, threads=1, gate=gate, on_bytes=count)
    assert part_numbers(stub) == list(range(1, parts + 1))
    assert stub.log.counts()["AbortMultipartUpload"] == 0
    stub.log.clear()
    upload_id: str = journal.noted()[KEY]["upload_id"]
    return upload_id


def test_what_is_missing_is_sent_first_and_a_part_that_differs_is_sent_again(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    upload_id = park(stub, stub_client, file, journal, 2)
    parts = stub.store.uploads[upload_id].parts
    stub.store.uploads[upload_id].parts[1] = type(parts[1])(b"?" * PART, "0" * 32, "AAAAAAAAAAA=")

    result = send(stub_client, "bucket", file, journal, threads=1)

    assert part_numbers(stub) == [3, 4, 1]
    assert (result.parts_sent, result.parts_adopted) == (3, 1)
    assert stub.store.buckets["bucket"][KEY].body == file.read_bytes()


def test_parts_are_adopted_from_all_pages(stub: StubS3, stub_client: Any, file: Path, journal: FileJournal) -> None:
    park(stub, stub_client, file, journal, 3)
    stub.store.page_size = 1

    result = send(stub_client, "bucket", file, journal)

    assert (result.parts_sent, result.parts_adopted) == (1, 3)
    assert stub.log.counts()["ListParts"] == 3


def test_another_version_of_the_file_begins_anew(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    park(stub, stub_client, file, journal, 2)
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)

    assert send(stub_client, "bucket", file, journal).parts_adopted == 0
    assert stub.store.buckets["bucket"][KEY].body == data


@pytest.mark.parametrize("how", ["denied", "lacking"])
def test_without_listparts_all_parts_are_sent_under_the_same_upload(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal, how: str
) -> None:
    park(stub, stub_client, file, journal, 2)
    getattr(stub, how).add("ListParts")

    result = send(stub_client, "bucket", file, journal)

    assert (result.parts_sent, result.parts_adopted) == (4, 0)
    assert stub.log.counts()["CreateMultipartUpload"] == 0
    assert stub.store.uploads == {}
    assert stub.store.buckets["bucket"][KEY].body == file.read_bytes()


def test_an_upload_that_is_gone_is_begun_anew(stub: StubS3, stub_client: Any, file: Path, journal: FileJournal) -> None:
    stub.store.uploads.pop(park(stub, stub_client, file, journal, 2))

    result = send(stub_client, "bucket", file, journal)

    assert (result.parts_sent, result.parts_adopted) == (4, 0)
    assert journal.events == ["begun", "gone", "begun", "gone"]


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_an_upload_that_goes_away_on_the_way_is_begun_anew_once(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal, operation: str
) -> None:
    counts: list[int] = []
    if operation == "UploadPart":
        stub.script.plan(operation, lambda _request, serve: serve(), times=2)
    stub.script.plan(operation, script.refuse(404, "NoSuchUpload"))

    send(stub_client, "bucket", file, journal, threads=1, on_bytes=counts.append)

    assert stub.log.counts()["CreateMultipartUpload"] == 2
    assert sum(counts) == file.stat().st_size
    assert min(counts) < 0
    assert stub.store.buckets["bucket"][KEY].body == file.read_bytes()

    stub.script.plan(operation, script.refuse(400, "InvalidPart"), times=20)
    with pytest.raises(errors.UploadGone):
        send(stub_client, "bucket", make_file(file, 2 * PART), journal, threads=1)


# --- integrity and lost answers --------------------------------------------------------------------------------------


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
    assert asked["UploadPart"]["x-amz-checksum-crc64nvme"] == crc_of(file.read_bytes()[3 * PART :])
    assert asked["CompleteMultipartUpload"]["x-amz-checksum-crc64nvme"] == crc_of(file.read_bytes())
    assert "expect" not in asked["UploadPart"]


def test_without_checksums_md5_guards_each_part(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    result = send(stub_client, "bucket", file, journal, checksums=False)

    assert all(not name.startswith("x-amz-checksum-c") for one in stub.log.entries for name in one.headers)
    assert all("content-md5" in one.headers for one in stub.log.entries if one.operation == "UploadPart")
    assert (result.etag, result.crc64nvme) == (etag_of(file.read_bytes()), crc_of(file.read_bytes()))


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


def test_an_upload_whose_id_was_lost_is_told_since_nobody_can_end_it(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal, caplog: pytest.LogCaptureFixture
) -> None:
    stub.script.plan("CreateMultipartUpload", script.slow_down())
    send(stub_client, "bucket", file, journal)
    assert caplog.messages == [], "a refusal has begun nothing"

    stub.script.plan("CreateMultipartUpload", script.lose_answer())
    send(stub_client, "bucket", file, journal)
    assert [
        f"s3://bucket/{KEY}: the answer to a new multipart upload was lost" in text for text in caplog.messages
    ] == [True]
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


# --- the file itself -------------------------------------------------------------------------------------------------


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


def test_a_file_that_is_not_the_planned_one_is_not_begun(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal, tmp_path: Path
) -> None:
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(file)
    os.mkfifo(fifo)
    size = file.stat().st_size

    with pytest.raises(errors.SourceChanged):
        send(stub_client, "bucket", file, journal, size=size + 1)
    with pytest.raises(errors.SourceChanged):
        send(stub_client, "bucket", fifo, journal, size=size)
    with pytest.raises(OSError, match="symbolic"):
        send(stub_client, "bucket", link, journal, size=size)
    with pytest.raises(FileNotFoundError):
        send(stub_client, "bucket", tmp_path / "missing", journal, size=size)
    assert stub.log.entries == []


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
