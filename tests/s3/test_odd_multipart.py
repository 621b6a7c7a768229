"""Files in parts at servers that are not S3: what they say proves nothing that they have not checked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulkhaul import errors
from bulkhaul.s3.engine import once
from s3.expected import KEY, crc, etag_of
from s3.large import PART, FileJournal, make_file, send
from servers.stub import odd, operations, script
from servers.stub.message import Answer
from servers.stub_s3 import StubS3

TINY = 1024
MANY = 1_150  # ListParts tells 1,000 at a time


def begin_in_tiny_parts(client: Any, file: Path, journal: FileJournal) -> None:
    """An upload that goes on with the size of part that it was begun with, though S3 takes none so small."""
    begun = client.create_multipart_upload(Bucket="bucket", Key=KEY)
    found = file.stat()
    journal.begun(KEY, begun["UploadId"], TINY, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@pytest.mark.slow
def test_after_a_kill_the_parts_of_all_pages_are_adopted(
    stub: StubS3, stub_client: Any, journal: FileJournal, tmp_path: Path
) -> None:
    file = make_file(tmp_path / "many", MANY * TINY - 1)
    begin_in_tiny_parts(stub_client, file, journal)
    keys, noted = stub.tokens.issue(None), tmp_path / "journal.json"
    command = [sys.executable, "-m", "s3.large", stub.url, "bucket", str(file), str(noted)]
    command += [keys.access_key, keys.secret_key]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(1_050):
            assert child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
    (upload,) = stub.store.uploads.values()
    parked = len(upload.parts)
    assert 1_050 <= parked < MANY

    stub.log.clear()
    result = send(stub_client, "bucket", file, journal)

    assert (result.parts_adopted, result.parts_sent) == (parked, MANY - parked)
    assert stub.log.counts()["ListParts"] == 2
    assert stub.log.counts()["UploadPart"] == MANY - parked
    assert stub.store.buckets["bucket"][KEY].body == file.read_bytes()


def composite(_request: Any, serve: Any) -> Answer:
    """SeaweedFS 4.34: a checksum of the parts' checksums, of which nothing says that it is one."""
    answer: Answer = serve()
    headers = {**answer.headers, "x-amz-checksum-crc64nvme": "ScdP0kTDxBE=-4"}
    headers.pop("x-amz-checksum-type", None)
    return replace(answer, headers=headers)


def test_a_checksum_of_checksums_says_nothing_and_the_etag_decides(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    stub.script.plan("HeadObject", composite)
    stub.script.plan("CompleteMultipartUpload", script.lose_answer())

    assert send(stub_client, "bucket", file, journal, repeat=once).etag == etag_of(file.read_bytes())


def test_a_damaged_part_whose_checksum_nobody_compared_is_sent_again_once(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    odd.ignores_checksums(stub)
    stub.script.plan("UploadPart", lambda request, _serve: damaged(stub, request))

    result = send(stub_client, "bucket", file, journal, checksums=False)

    assert stub.log.counts()["UploadPart"] == 5
    assert (result.etag, result.crc64nvme) == (etag_of(file.read_bytes()), crc(file.read_bytes()))
    assert stub.store.buckets["bucket"][KEY].body == file.read_bytes()

    stub.script.plan("UploadPart", lambda request, _serve: damaged(stub, request), times=2)
    with pytest.raises(errors.IntegrityFailed, match="the ETag of a part is not the MD5 of what was sent"):
        send(stub_client, "bucket", file, journal, checksums=False, threads=1)


def damaged(stub: StubS3, request: Any) -> Answer:
    return operations.serve(stub.store, replace(request, body=odd.flip(request.body)))


def test_a_parked_part_is_not_adopted_for_a_checksum_that_nobody_compared(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    odd.ignores_checksums(stub)
    with pytest.raises(errors.AccessDenied):
        stub.script.plan("CompleteMultipartUpload", script.refuse(403, "AccessDenied"))
        send(stub_client, "bucket", file, journal, checksums=False)
    (upload,) = stub.store.uploads.values()
    first = upload.parts[1]
    upload.parts[1] = replace(first, body=odd.flip(first.body), etag="0" * 32)
    told = f"<PartNumber>1</PartNumber><ChecksumCRC64NVME>{crc(file.read_bytes()[:PART])}</ChecksumCRC64NVME>".encode()

    def tell_checksum(_request: Any, serve: Any) -> Answer:
        answer: Answer = serve()
        return replace(answer, body=answer.body.replace(b"<PartNumber>1</PartNumber>", told))

    stub.script.plan("ListParts", tell_checksum)

    result = send(stub_client, "bucket", file, journal, checksums=False)

    assert (result.parts_sent, result.parts_adopted) == (1, 3)
    assert stub.store.buckets["bucket"][KEY].body == file.read_bytes()


def test_parked_parts_are_adopted_by_digests_in_capitals(
    stub: StubS3, stub_client: Any, file: Path, journal: FileJournal
) -> None:
    odd.writes_etags(str.upper)(stub)
    odd.ignores_checksums(stub)
    with pytest.raises(errors.AccessDenied):
        stub.script.plan("CompleteMultipartUpload", script.refuse(403, "AccessDenied"))
        send(stub_client, "bucket", file, journal, checksums=False)

    assert send(stub_client, "bucket", file, journal, checksums=False).parts_sent == 0
