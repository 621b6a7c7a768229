"""Large files that change while their parts go out, around the threshold, and above 5 GiB."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

import pytest

from e2e.accounts import FAILED, Fate, assert_books, error_line, manifest, plate, retry, transfer
from e2e.lab import Lab, write_plate
from e2e.large import (
    ALL_PARTS,
    AT_ONCE,
    KEY,
    MIB,
    NAME,
    PART,
    begin,
    of_the_file,
    parked,
    parts_by_upload,
    through,
)
from e2e.oracle import plain_client
from e2e.turnstile import Turnstile, is_probe, worker_held
from servers.seaweed import Seaweed
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3


GIB = 1 << 30


def write_inside(path: Path, text: bytes) -> None:
    """Change the file without changing its size."""
    with path.open("r+b") as file:
        file.write(text)


def test_a_file_that_changes_while_its_parts_go_out_arrives_as_the_new_one(lab: Lab, front: StubS3) -> None:
    path = begin(lab)
    held = Turnstile(front, "UploadPart", fits=of_the_file, free=1)
    with worker_held(lab, held, env=through(front), requests=AT_ONCE):
        write_inside(path, b"the first part is on its way already")
    # Of the old version the one that had passed and those in flight, nothing that was begun after the change.
    assert parts_by_upload(front) == [ALL_PARTS[: 1 + AT_ONCE], ALL_PARTS]
    assert_books(lab, {})
    assert manifest(lab)[NAME]["mtime_ns"] == path.stat().st_mtime_ns


def test_a_file_that_never_stops_changing_fails_by_name_until_it_does(lab: Lab, front: StubS3) -> None:
    path = begin(lab)
    first = Turnstile(front, "UploadPart", fits=of_the_file)
    with worker_held(lab, first, env=through(front), requests=AT_ONCE, expect=3):
        write_inside(path, b"once")
        front.script.clear()
        second = Turnstile(front, "UploadPart", fits=of_the_file)
        first.open()
        second.wait(AT_ONCE)
        write_inside(path, b"twice")
        second.open()
    # Two attempts, and of each what was in flight at the change: the rest is not sent for nothing.
    assert parts_by_upload(front) == [ALL_PARTS[:AT_ONCE]] * 2
    assert "changed while it was read" in error_line(lab)
    assert NAME in error_line(lab)
    assert_books(lab, {NAME: Fate(FAILED, "changed while it was read")})
    front.script.clear()
    retry(lab)
    assert transfer(lab, env=through(front))["files_sent"] == 1
    assert_books(lab, {})
    assert parked(lab) == []


def test_files_around_the_threshold_and_the_part_size_arrive(lab: Lab, front: StubS3) -> None:
    write_plate(plate(lab), chunks=3, seed=1)
    for size in (PART - 1, PART, PART + 1, 2 * PART - 1, 2 * PART, 2 * PART + 1):
        (plate(lab) / f"{size:09d}").write_bytes(random.Random(size).randbytes(size))
    lab.extract()
    transfer(lab, env=through(front))
    begun = [entry for entry in front.log.entries if entry.operation == "CreateMultipartUpload"]
    assert len([entry for entry in begun if not is_probe(entry.key)]) == 5
    assert_books(lab, {})


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_sparse_file_above_5_gib_arrives_in_little_memory(lab: Lab, s3_server: Seaweed) -> None:
    """Above what one PUT may carry. 64 MiB parts, so that the server's index of chunks stays small too."""
    write_plate(plate(lab), chunks=3, seed=1)
    path = plate(lab) / NAME
    size = 5 * GIB + 12_345
    with path.open("wb") as file:
        file.truncate(size)
        for place in (0, 3 * GIB + 17, size - 7):
            os.pwrite(file.fileno(), b"content", place)
    lab.extract()
    begun = time.monotonic()
    worker = lab.worker("--json", BULKHAUL_PART_SIZE="64MiB")
    peak = 0
    while worker.poll() is None:
        peak = max(peak, peak_memory(worker.pid))
        time.sleep(0.02)
    seconds = time.monotonic() - begun
    output, errors = worker.communicate()
    assert worker.returncode == 0, output + errors
    print(f"5 GiB in {seconds:.1f} s, peak {peak / MIB:.0f} MiB")
    assert 0 < peak < 400 * MIB
    client = plain_client(lab.env)
    found = client.head_object(Bucket=lab.bucket, Key=KEY, ChecksumMode="ENABLED")
    assert found["ContentLength"] == size
    assert found["ETag"].strip('"') == multipart_etag(path, 64 * MIB)
    assert found["ETag"].strip('"') == manifest(lab)[NAME]["etag"]
    assert parked(lab) == []


def peak_memory(pid: int) -> int:
    """The most that the process has held in memory so far, in bytes; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else 0


def multipart_etag(path: Path, part_size: int) -> str:
    """What S3 calls an object of these bytes in parts of this size."""
    hole = bytes(part_size)
    digest_of_hole = hashlib.md5(hole).digest()  # most parts of a sparse file
    digests = []
    with path.open("rb") as file:
        while data := file.read(part_size):
            digests.append(digest_of_hole if data == hole else hashlib.md5(data).digest())
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"
