"""Large files in parts by real workers: bounded memory, killed and resumed, answers lost."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from e2e.accounts import JOB, assert_books, job_text, transfer
from e2e.lab import ENGINES, Lab, wait_until
from e2e.large import (
    ALL_PARTS,
    AT_ONCE,
    KEY,
    PART,
    begin,
    of_the_file,
    parked,
    parts_by_upload,
    through,
)
from e2e.oracle import plain_client
from e2e.turnstile import Turnstile, worker_held
from servers.stub.script import error_in_200, lose_answer
from servers.stub.store import crc64nvme
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3


def parts_stored(front: StubS3) -> list[int]:
    """The same for all uploads together."""
    return sorted(number for numbers in parts_by_upload(front) for number in numbers)


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
    other = b"\0" * PART
    plain_client(lab.env).upload_part(**part, Body=other, ChecksumCRC64NVME=crc64nvme(other))
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
