"""Files that change while the worker runs: what arrives is one version, and what does not is named."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from e2e.accounts import (
    FAILED,
    PREFIX,
    SKIPPED,
    Fate,
    assert_books,
    error_line,
    manifest,
    plate,
    retry,
    transfer,
)
from e2e.lab import Lab, wait_until
from e2e.odd_entries import ODD, assert_clear, begin, put
from e2e.oracle import plain_client, remote_keys
from e2e.turnstile import Turnstile, front_env, worker_held
from servers.stub.message import Request
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3

EARLY, LATE = "00 early", "zz late"


def put_early_files(folder: Path) -> None:
    """More than may be in flight at once: while they are held nobody has read what comes after them."""
    for number in range(70):
        put(folder, f"{EARLY} {number:02d}")


def is_early(request: Request) -> bool:
    return EARLY in request.key


def change_late_files(folder: Path) -> None:
    with (folder / f"{LATE} grows").open("ab") as file:
        file.write(b"y" * 5000)
    os.truncate(folder / f"{LATE} shrinks", 10)
    (folder / "new").write_bytes(b"z" * 1000)
    (folder / "new").replace(folder / f"{LATE} replaced")
    (folder / f"{LATE} rewritten").write_bytes(b"w" * 1000)
    (folder / f"{LATE} emptied").write_bytes(b"")
    for kind in ("to link", "to fifo", "to folder", "vanishes"):
        (folder / f"{LATE} {kind}").unlink()
    (folder / f"{LATE} to link").symlink_to("/etc/hostname")
    os.mkfifo(folder / f"{LATE} to fifo")
    (folder / f"{LATE} to folder").mkdir()
    (folder / f"{LATE} to folder/inner").write_bytes(b"new")
    shutil.rmtree(folder / f"{LATE} folder")


def test_files_that_change_after_the_plan_arrive_as_they_are_or_fail_by_name(
    lab: Lab, front: StubS3, engine: str
) -> None:
    folder = begin(lab)
    put_early_files(folder)
    kinds = ("grows", "shrinks", "replaced", "rewritten", "emptied", "to link", "to fifo", "to folder", "vanishes")
    for kind in kinds:
        put(folder, f"{LATE} {kind}", "x" * 1000)
    put(folder, f"{LATE} folder/inner")

    held = Turnstile(front, "PutObject", fits=is_early)
    with worker_held(lab, held, "--engine", engine, "-v", "3", env=front_env(front), expect=3):
        time.sleep(1.0)  # the plan of a few dozen files takes milliseconds
        change_late_files(folder)
    gone = {
        f"{ODD}/{LATE} to link": Fate(FAILED, "became a symlink"),
        f"{ODD}/{LATE} to fifo": Fate(FAILED, "is no regular file any more"),
        f"{ODD}/{LATE} vanishes": Fate(FAILED, "vanished while it was read"),
        f"{ODD}/{LATE} to folder": Fate(FAILED, "is no regular file any more"),
        f"{ODD}/{LATE} folder/inner": Fate(FAILED, "vanished while it was read"),
    }
    late = plate(lab) / ODD / f"{LATE} to folder/inner"
    content = late.read_bytes()
    late.unlink()  # it came after the plan: no run can tell of it
    late.parent.rmdir()
    assert_books(lab, gone)
    assert_clear(error_line(lab), count=5, words=["became a symlink", "vanished while it was read"])

    late.parent.mkdir()
    late.write_bytes(content)
    retry(lab)
    assert transfer(lab, "--engine", engine)["files_sent"] == 1
    assert_books(
        lab,
        {
            f"{ODD}/{LATE} to link": Fate(SKIPPED, "symlink"),
            f"{ODD}/{LATE} to fifo": Fate(SKIPPED, "FIFO"),
        },
    )


def test_a_file_that_changes_after_it_was_sent_is_sent_again_by_the_next_run(lab: Lab, front: StubS3) -> None:
    folder = begin(lab)
    put_early_files(folder)
    first = folder / f"{EARLY} 00"
    others = Turnstile(
        front, "PutObject", fits=lambda request: is_early(request) and not request.key.endswith(first.name)
    )
    before = first.stat()
    with worker_held(lab, others, env=front_env(front)):
        wait_until(lambda: any(entry.key.endswith(first.name) for entry in front.log.entries), what="it is sent")
        first.write_bytes(b"changed".ljust(before.st_size, b"!"))
        os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same mtime: only the ctime tells
    record = manifest(lab)[f"{ODD}/{first.name}"]
    assert record["ctime_ns"] == before.st_ctime_ns, "the manifest tells of the bytes that were sent"
    lab.type_todo()
    assert transfer(lab)["files_sent"] == 1
    assert_books(lab, {})


def test_a_file_that_is_written_to_all_the_time_is_never_mixed(lab: Lab, engine: str) -> None:
    folder = begin(lab)
    for number in range(300):
        put(folder, f"{EARLY} {number:03d}")
    path = folder / f"{LATE} log"
    path.write_bytes(b"")
    stop = threading.Event()

    def write() -> None:
        # Slow and bounded: a writer that outruns the test would fill the disk.
        with path.open("ab", buffering=0) as file:
            for number in range(8_000):
                if stop.wait(0.001):
                    return
                file.write(b"%0127d\n" % number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        worker = lab.worker("--engine", engine)
        output, _ = worker.communicate(timeout=60)
    finally:
        stop.set()
        writer.join()
    record = manifest(lab)[f"{ODD}/{path.name}"]
    client = plain_client(lab.env)
    keys = remote_keys(client, lab.bucket, f"{PREFIX}/{ODD}/{LATE}")
    if worker.returncode == 0:
        stored = client.get_object(Bucket=lab.bucket, Key=f"{PREFIX}/{ODD}/{path.name}")["Body"].read()
        assert len(stored) == record["size"]
        assert path.read_bytes().startswith(stored)
    else:
        assert worker.returncode == 3, output
        assert record["reason"] == "changed while it was read"
        assert keys == []
        retry(lab)
        assert transfer(lab, "--engine", engine)["files_sent"] == 1
    lab.type_todo()
    transfer(lab, "--engine", engine)
    assert_books(lab, {})
