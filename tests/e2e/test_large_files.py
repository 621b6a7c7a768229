"""Large files in parts by real workers: bounded memory, killed and resumed, changed in between, answers lost."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from e2e.accounts import FAILED, JOB, PREFIX, Fate, assert_books, error_line, job_text, manifest, plate, retry, transfer
from e2e.lab import ENGINES, Lab, wait_until, write_plate
from e2e.oracle import plain_client
from e2e.turnstile import Turnstile, front_env, is_probe, worker_held
from servers.seaweed import Seaweed
from servers.stub.message import Request
from servers.stub.script import error_in_200, lose_answer
from servers.stub_s3 import StubS3

pytestmark = [pytest.mark.s3, pytest.mark.one_engine("parts go through boto3 whatever the engine")]

MIB = 1 << 20
GIB = 1 << 30
PART = 5 * MIB
PARTS = 12
NAME = "objects.csv"
KEY = f"{PREFIX}/{NAME}"
IN_PARTS = {"BULKHAUL_PART_SIZE": "5MiB", "BULKHAUL_MULTIPART_THRESHOLD": "5MiB"}
ALL_PARTS = list(range(1, PARTS + 1))
AT_ONCE = 4  # parts of one file in flight


def begin(lab: Lab, size: int = PARTS * PART - 1) -> Path:
    """The plate with a few chunks and one large file, its job extracted; the large file."""
    write_plate(plate(lab), chunks=3, seed=1)
    path = plate(lab) / NAME
    path.write_bytes(random.Random(size).randbytes(size))
    lab.extract()
    return path


def through(front: StubS3) -> dict[str, str]:
    return {**front_env(front), **IN_PARTS}


def of_the_file(request: Request) -> bool:
    return request.key == KEY


def parts_by_upload(front: StubS3) -> list[list[int]]:
    """For each upload in turn the numbers of the parts that S3 has taken, sorted, as often as it took them."""
    taken: dict[str, list[int]] = {}
    for entry in front.log.entries:
        if entry.key == KEY and entry.operation == "UploadPart" and entry.status == 200:
            taken.setdefault(entry.query["uploadId"], []).append(int(entry.query["partNumber"]))
    return [sorted(numbers) for numbers in taken.values()]


def parts_stored(front: StubS3) -> list[int]:
    """The same for all uploads together."""
    return sorted(number for numbers in parts_by_upload(front) for number in numbers)


def parked(lab: Lab) -> list[Any]:
    uploads = plain_client(lab.env).list_multipart_uploads(Bucket=lab.bucket).get("Uploads", [])
    return [upload for upload in uploads if upload["Key"] == KEY]


def kill_amid_parts(lab: Lab, front: StubS3, *, engine: str = "obstore", after: int = 5) -> list[int]:
    """Kill a worker when S3 has `after` parts and all that may be in flight beside them is; the parts S3 has."""
    held = Turnstile(front, "UploadPart", fits=of_the_file, free=after)
    worker = lab.worker("--engine", engine, **through(front))
    held.wait(AT_ONCE)
    wait_until(lambda: len(parts_stored(front)) == after, what=f"{after} parts are stored")
    held.kill(worker)
    stored = parts_stored(front)
    front.log.clear()
    assert held.held == AT_ONCE, "more parts were in flight than there are threads"
    assert len(stored) == len(set(stored)) == after
    return stored


def is_pending(number: signal.Signals, pid: int) -> bool:
    """Whether the signal has not reached the process's main thread yet."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def lacking(stored: list[int]) -> list[int]:
    """The parts beside those."""
    return sorted(set(ALL_PARTS) - set(stored))


@pytest.mark.parametrize("engine", ENGINES)
def test_after_kill_9_another_worker_sends_only_the_parts_that_s3_lacks(lab: Lab, front: StubS3, engine: str) -> None:
    begin(lab)
    stored = kill_amid_parts(lab, front, engine=engine)
    assert lab.statuses() == {JOB: "ongoing"}
    assert len(parked(lab)) == 1
    transfer(lab, "--engine", engine, env=through(front))
    assert parts_stored(front) == lacking(stored)
    assert front.log.counts()["CreateMultipartUpload"] == 0
    assert_books(lab, {})


def test_sigterm_parks_the_parts_and_the_next_worker_adopts_them(lab: Lab, front: StubS3) -> None:
    begin(lab)
    held = Turnstile(front, "UploadPart", fits=of_the_file, free=5)
    with worker_held(lab, held, env=through(front), requests=AT_ONCE, expect=75) as stopped:
        stopped.worker.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_pending(signal.SIGTERM, stopped.worker.pid), what="the signal reaches the worker")
        time.sleep(0.3)  # its handler has run before the parts in flight end
    held.leave()
    stored = parts_stored(front)
    # Five had passed; what was in flight may end, and nothing is begun after the signal.
    assert len(stored) == len(set(stored)) == 5 + AT_ONCE
    front.log.clear()
    assert lab.statuses() == {JOB: "todo"}
    assert "SIGTERM" in job_text(lab)
    assert len(parked(lab)) == 1
    transfer(lab, env=through(front))
    assert parts_stored(front) == lacking(stored)
    assert_books(lab, {})


@pytest.mark.parametrize("change", ["content", "longer", "vanished"])
def test_a_file_that_changed_before_the_resume_is_sent_anew_and_nothing_stays_parked(
    lab: Lab, front: StubS3, change: str
) -> None:
    path = begin(lab)
    kill_amid_parts(lab, front)
    if change == "content":
        with path.open("r+b") as file:
            file.write(b"other bytes")
    elif change == "longer":
        with path.open("ab") as file:
            file.write(b"z" * 100)
    else:
        path.unlink()
    transfer(lab, env=through(front))
    sent = [] if change == "vanished" else list(range(1, 1 + -(-path.stat().st_size // PART)))
    assert parts_stored(front) == sent, "old parts were used"
    assert_books(lab, {})
    assert parked(lab) == []


def test_a_stored_part_with_other_bytes_never_becomes_a_part_of_the_object(lab: Lab, front: StubS3) -> None:
    begin(lab)
    damaged = 7
    # The only part of that number: SeaweedFS keeps each one that it is sent, and lists several in any order.
    held = Turnstile(
        front, "UploadPart", fits=lambda request: of_the_file(request) and request.query["partNumber"] == str(damaged)
    )
    worker = lab.worker(**through(front))
    wait_until(lambda: parts_stored(front) == lacking([damaged]), what="all other parts are stored")
    held.wait()
    held.kill(worker)
    front.log.clear()
    (upload,) = parked(lab)
    part = {"Bucket": lab.bucket, "Key": KEY, "UploadId": upload["UploadId"], "PartNumber": damaged}
    plain_client(lab.env).upload_part(**part, Body=b"\0" * PART, ChecksumAlgorithm="CRC64NVME")
    transfer(lab, env=through(front))
    assert parts_stored(front) == [damaged]
    assert front.log.counts()["CreateMultipartUpload"] == 0
    assert_books(lab, {})


def test_without_the_right_to_list_parts_all_parts_are_sent_again(lab: Lab, front: StubS3) -> None:
    begin(lab)
    kill_amid_parts(lab, front)
    front.denied.add("ListParts")
    transfer(lab, env=through(front))
    assert 403 in front.log.statuses("ListParts")
    assert parts_stored(front) == ALL_PARTS
    assert_books(lab, {})


def test_an_upload_that_somebody_aborted_is_begun_anew(lab: Lab, front: StubS3) -> None:
    begin(lab)
    kill_amid_parts(lab, front)
    (upload,) = parked(lab)
    plain_client(lab.env).abort_multipart_upload(Bucket=lab.bucket, Key=KEY, UploadId=upload["UploadId"])
    transfer(lab, env=through(front))
    assert front.log.counts()["CreateMultipartUpload"] == 1
    assert parts_stored(front) == ALL_PARTS
    assert_books(lab, {})


@pytest.mark.parametrize("fault", ["lost", "error in 200, done", "error in 200, not done"])
def test_a_completion_whose_answer_is_lost_or_lies_is_resolved(lab: Lab, front: StubS3, fault: str) -> None:
    begin(lab)
    act = lose_answer() if fault == "lost" else error_in_200(committed="not done" not in fault)
    front.script.plan("CompleteMultipartUpload", act, key=KEY)
    transfer(lab, env=through(front))
    assert front.script.met == 1
    assert parts_stored(front) == ALL_PARTS, "parts were sent again"
    assert_books(lab, {})


def test_killed_after_the_completion_the_object_that_stands_is_recognised(lab: Lab, front: StubS3) -> None:
    begin(lab)
    held = Turnstile(front, "CompleteMultipartUpload", fits=of_the_file)
    worker = lab.worker(**through(front))
    held.wait()
    worker.kill()
    worker.wait()
    held.open()  # S3 does what it was asked for; nobody hears the answer
    held.leave()
    assert parked(lab) == []
    front.log.clear()
    transfer(lab, env=through(front))
    assert parts_stored(front) == [], "the object was there already"
    assert_books(lab, {})


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
