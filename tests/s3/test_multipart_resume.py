"""What an earlier process parked is adopted where it fits and begun anew where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulkhaul import errors
from s3.expected import KEY
from s3.large import PART, FileJournal, make_file, send
from servers.stub import script
from servers.stub_s3 import StubS3


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
