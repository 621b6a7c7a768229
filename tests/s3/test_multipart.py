"""A large file arrives whole on a real S3 server, whoever was killed on the way."""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bulkhaul import errors
from bulkhaul.s3.client import make_client
from bulkhaul.s3.credentials import CredentialSource, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.multipart import abort_upload
from bulkhaul.s3.token import Token
from s3.expected import KEY, crc, etag_of
from s3.large import MIB, PART, FileJournal, fast_repeat, make_file, send
from s3.reach import client_for
from servers.seaweed import ADMIN, Seaweed
from servers.stub_s3 import Front, StubS3


@pytest.fixture
def client(s3_server: Seaweed) -> Any:
    return client_for(s3_server.url, ADMIN.access_key, ADMIN.secret_key)


def test_a_large_file_arrives_with_the_etag_and_the_checksum_of_its_bytes(
    client: Any, s3_server: Seaweed, bucket: str, file: Path, journal: FileJournal
) -> None:
    counts: list[int] = []
    result = send(client, bucket, file, journal, on_bytes=counts.append)

    data = file.read_bytes()
    assert (result.etag, result.crc64nvme) == (etag_of(data), crc(data))
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
