"""Odd entries in a dataset: what may be sent arrives byte by byte, the rest is named, and after its mending too."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from e2e.accounts import (
    FAILED,
    JOB,
    PREFIX,
    SKIPPED,
    Fate,
    assert_books,
    error_line,
    job_text,
    manifest,
    plate,
    retry,
    transfer,
    tree_entries,
)
from e2e.lab import Lab, write_plate
from e2e.oracle import plain_client, remote_keys
from e2e.poor_lab import PoorLab, poor_lab_on
from e2e.turnstile import Turnstile, front_env, is_probe
from servers.seaweed import ADMIN, Seaweed
from servers.stub_s3 import Front, StubS3

pytestmark = pytest.mark.s3

ENGINES = pytest.mark.parametrize("engine", ["obstore", "s3transfer"])
ODD = "odd"  # the folder of the odd entries: beside the Zarr, so that it does not withhold the Zarr's metadata

WELCOME = [
    "n" * 255,
    "\u00e9" * 127,
    "with blank",
    " leading blank",
    "trailing blank ",
    "trailing dot.",
    "...",
    ".hidden",
    "'single' \"double\"",
    "%41 100% %2F %",
    "a+b",
    "#fragment",
    "what?x=1&y=2",
    "star*",
    "semi;colon:comma,at@equals=",
    "<tag>&amp;",
    "[brackets]{braces}|pipe^caret`~$!",
    unicodedata.normalize("NFC", "caf\u00e9"),
    unicodedata.normalize("NFD", "caf\u00e9"),
    "emoji \U0001f52c",
    "full width \uff5e",  # before the emoji in UTF-8, after it in UTF-16
    "line\u2028separator",
    "\ufeffmark",
    "\u202eright to left",
    "a b",
    "a/x",  # SeaweedFS lists it before `a b`
    "a.txt",
]
REFUSED = {
    "new\nline": "control character",
    "carriage\rreturn": "control character",
    "tab\t": "control character",
    "bell\x07": "control character",
    "delete\x7f": "control character",
    "next\x85line": "control character",
    "back\\slash": "backslash",
    os.fsdecode(b"latin1-\xe9"): "not valid UTF-8",
    os.fsdecode(b"half-\xf0\x9f"): "not valid UTF-8",
    "no character \ufffe": "control character",
}


@pytest.fixture
def front(s3_server: Seaweed) -> Iterator[StubS3]:
    """The real S3 server behind our own stub, which holds back what a test wants held back."""
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as front:
        yield front


def begin(lab: Lab) -> Path:
    """The plate with a small Zarr, its job extracted; the folder for odd entries."""
    write_plate(plate(lab), chunks=3, seed=1)
    lab.extract()
    folder = plate(lab) / ODD
    folder.mkdir()
    return folder


def put(folder: Path, name: str, text: str | None = None) -> str:
    """A small file; its name below the plate."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.fsencode(text or f"content of {name}"))
    return f"{ODD}/{name}"


def assert_clear(line: str, *, count: int, words: list[str]) -> None:
    """The line in the log says how many, names the first with reasons, and ends with what to do."""
    assert f"error: {count} file(s) failed: " in line
    assert re.search(r"mend them, then `bulkhaul retry`", line), line
    for word in words:
        assert word in line


@ENGINES
def test_odd_names_arrive_or_are_refused_in_the_plan_and_arrive_renamed(lab: Lab, front: StubS3, engine: str) -> None:
    folder = begin(lab)
    for name in WELCOME:
        put(folder, name)
    exceptions = {put(folder, name): Fate(FAILED, f"refused: {reason}") for name, reason in _reasons().items()}
    report = transfer(lab, "--engine", engine, expect=3, env=front_env(front))
    assert report["failed"] == [JOB]
    assert_books(lab, exceptions)
    asked = {entry.key for entry in front.log.entries}
    assert not [key for key in asked for name in exceptions if key == f"{PREFIX}/{name}"]
    first = min(exceptions, key=os.fsencode)
    assert_clear(error_line(lab), count=len(exceptions), words=["control character", repr(first)])

    for number, name in enumerate(REFUSED):
        (folder / name).rename(folder / f"renamed {number}")
    retry(lab)
    front.log.clear()
    report = transfer(lab, "--engine", engine, env=front_env(front))
    assert report["files_sent"] == len(REFUSED)
    assert_books(lab, {})
    sent = {entry.key for entry in front.log.entries if entry.operation == "PutObject" and not is_probe(entry.key)}
    assert sent == {f"{PREFIX}/{ODD}/renamed {n}" for n in range(len(REFUSED))} | {f"{PREFIX}.manifest.jsonl.gz"}
    (lab.joblist / f"{JOB}.txt").write_text(job_text(lab).replace("success", "todo", 1))
    assert transfer(lab, "--engine", engine)["files_sent"] == 0


def _reasons() -> Mapping[str, str]:
    return {
        name: f"the name has a {why}" if "UTF" not in why else f"the name is {why}" for name, why in REFUSED.items()
    }


@ENGINES
def test_a_key_of_1024_bytes_arrives_and_one_of_1025_is_refused(lab: Lab, engine: str) -> None:
    folder = begin(lab)
    base = f"{PREFIX}/{ODD}/"
    deep = ""
    while len(base) + len(deep) + 1 + 200 < 1024 - 50:
        deep += "k" * 200 + "/"
    longest = deep + "m" * (1024 - len(base) - len(deep))
    put(folder, longest, "longest")
    # The same number of characters, one byte more.
    too_long = put(folder, longest[:-1] + "\u00e9", "too long")
    far_too_long = put(folder, "/".join(["l" * 240] * 6), "far too long")
    transfer(lab, "--engine", engine, expect=3)
    assert_books(
        lab,
        {
            too_long: Fate(FAILED, "refused: the key has 1025 bytes, S3 takes 1024"),
            far_too_long: Fate(FAILED, "refused: the key has"),
        },
    )
    assert_clear(error_line(lab), count=2, words=["the key has 1025 bytes", "S3 takes 1024", "m\u00e9'"])


def test_many_failures_with_long_names_leave_room_for_the_next_step(lab: Lab) -> None:
    folder = begin(lab)
    for number in range(30):
        put(folder, f"{number:02d}" + "x" * 250 + "\n")
    transfer(lab, expect=3)
    assert_clear(error_line(lab), count=30, words=[f"{ODD}/00xxx", "xxx\\n': refused: ", "manifest"])


@ENGINES
def test_links_and_special_files_are_skipped_by_name_and_the_rest_arrives(lab: Lab, engine: str) -> None:
    folder = begin(lab)
    put(folder, "real")
    put(folder, "sub/inner")
    put(folder, "empty file", "")
    (folder / "empty file").write_bytes(b"")
    (folder / "to file").symlink_to("real")
    (folder / "to folder").symlink_to("sub")
    (folder / "to outside").symlink_to("/etc")
    (folder / "broken").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "sub/up").symlink_to("..")
    (folder / "empty folder/inner").mkdir(parents=True)
    os.mkfifo(folder / "fifo")
    _socket_at(folder, "socket")
    links = ["to file", "to folder", "to outside", "broken", "loop", "sub/up"]
    exceptions = {f"{ODD}/{name}": Fate(SKIPPED, "symlink") for name in links}
    exceptions |= {
        f"{ODD}/fifo": Fate(SKIPPED, "FIFO"),
        f"{ODD}/socket": Fate(SKIPPED, "socket"),
        f"{ODD}/empty folder/inner/": Fate(SKIPPED, "empty folder"),
    }
    transfer(lab, "--engine", engine)
    assert_books(lab, exceptions)
    assert "1 FIFO, 1 empty folder, 1 socket, 6 symlink" in job_text(lab)


def _socket_at(folder: Path, name: str) -> None:
    here = Path.cwd()
    os.chdir(folder)  # the address of a socket may not be longer than 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(name)
    finally:
        os.chdir(here)


def test_two_hundred_folders_deep_arrives(lab: Lab) -> None:
    folder = begin(lab)
    put(folder, "d/" * 200 + "leaf")
    put(folder, "d/" * 100 + "leaf")
    transfer(lab)
    assert_books(lab, {})


def test_paths_longer_than_the_system_takes_fail_by_name(lab: Lab) -> None:
    folder = begin(lab)
    here = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(20):  # more than PATH_MAX, which only steps can make
            os.mkdir("p" * 250, dir_fd=here)
            inner = os.open("p" * 250, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
    finally:
        os.close(here)
    transfer(lab, expect=3)
    failures = [record for record in manifest(lab).values() if record["outcome"] == FAILED]
    assert len(failures) == 1
    assert "File name too long" in failures[0]["reason"]
    assert_clear(error_line(lab), count=1, words=["File name too long"])


def test_an_empty_dataset_is_an_error_until_it_is_filled(lab: Lab) -> None:
    (plate(lab) / "A0001.zarr" / "labels").mkdir(parents=True)
    lab.extract()
    report = transfer(lab, expect=3)
    assert report["failed"] == [JOB]
    line = error_line(lab)
    assert str(plate(lab)) in line
    assert "holds no file" in line
    assert remote_keys(plain_client(lab.env), lab.bucket) == []
    write_plate(plate(lab), chunks=3, seed=1)
    retry(lab)
    assert transfer(lab)["files_sent"] == len(tree_entries(plate(lab)))
    assert_books(lab, {})


# -- rights: root reads everything, so the worker runs under another uid ------------------------------------------


@pytest.fixture
def poor_lab(bucket: str, s3_env: Mapping[str, str]) -> Iterator[PoorLab]:
    """A lab whose scripts run as somebody without rights."""
    with poor_lab_on(bucket, s3_env) as lab:
        yield lab


def put_zarr(lab: Lab) -> Path:
    write_plate(plate(lab), chunks=3, seed=1)
    folder = plate(lab) / ODD
    folder.mkdir()
    return folder


@ENGINES
def test_unreadable_files_and_folders_fail_by_name_and_arrive_after_a_chmod(poor_lab: PoorLab, engine: str) -> None:
    folder = put_zarr(poor_lab)
    secret = put(folder, "secret")
    large = put(folder, "large", "x" * 6_000_000)
    put(folder, "closed/inner")
    put(folder, "closed/other")
    listed = put(folder, "listed/inner")
    put(folder, "open")
    poor_lab.extract()
    poor_lab.hand_over()
    for name in (secret, large):
        (plate(poor_lab) / name).chmod(0)
    (folder / "closed").chmod(0)
    (folder / "listed").chmod(0o400)  # names may be read, nothing may be looked at
    size = {"BULKHAUL_MULTIPART_THRESHOLD": "5MiB"}
    report = transfer(poor_lab, "--engine", engine, expect=3, env=size)
    assert report["failed"] == [JOB]
    records = manifest(poor_lab)
    failed = {name: record["reason"] for name, record in records.items() if record["outcome"] == FAILED}
    assert failed == {
        secret: "no right to read",
        large: "no right to read",
        f"{ODD}/closed/": "unreadable: Permission denied",
        listed: "unreadable: Permission denied",
    }
    line = error_line(poor_lab)
    assert_clear(line, count=4, words=[*map(repr, failed), "no right to read", "unreadable: Permission denied"])
    hidden = {f"{ODD}/closed/inner", f"{ODD}/closed/other"}  # what nobody can list, nobody can count
    assert set(records) == tree_entries(plate(poor_lab)) - hidden | {f"{ODD}/closed/"}
    client = plain_client(poor_lab.env)
    keys = {key.removeprefix(f"{PREFIX}/") for key in remote_keys(client, poor_lab.bucket, f"{PREFIX}/")}
    assert keys == set(records) - set(failed)

    for name in (secret, large):
        (plate(poor_lab) / name).chmod(0o644)
    (folder / "closed").chmod(0o755)
    (folder / "listed").chmod(0o755)
    retry(poor_lab)
    poor_lab.hand_over()
    assert transfer(poor_lab, "--engine", engine, env=size)["files_sent"] == 5
    assert_books(poor_lab, {})


def test_an_unreadable_dataset_is_an_error_until_a_chmod(poor_lab: PoorLab) -> None:
    put_zarr(poor_lab)
    poor_lab.extract()
    poor_lab.hand_over()
    plate(poor_lab).chmod(0)
    transfer(poor_lab, expect=3)
    line = error_line(poor_lab)
    assert str(plate(poor_lab)) in line
    assert "cannot be read: Permission denied" in line
    plate(poor_lab).chmod(0o755)
    retry(poor_lab)
    poor_lab.hand_over()
    transfer(poor_lab)
    assert_books(poor_lab, {f"{ODD}/": Fate(SKIPPED, "empty folder")})


# -- files that change while the worker runs -----------------------------------------------------------------------

EARLY, LATE = "00 early", "zz late"


def hold_early_files(lab: Lab, front: StubS3, change: Callable[[Path], None], *, engine: str, expect: int) -> None:
    """Run the worker, and `change` the folder after the plan has seen all of it and before any late file is read."""
    folder = plate(lab) / ODD
    held = Turnstile(front, "PutObject", fits=lambda request: EARLY in request.key)
    worker = lab.worker("--engine", engine, "-v", "3", **front_env(front))
    held.wait()
    time.sleep(1.0)  # the plan of a few dozen files takes milliseconds
    change(folder)
    held.open()
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == expect, output
    assert held.held >= 1


@ENGINES
def test_files_that_change_after_the_plan_arrive_as_they_are_or_fail_by_name(
    lab: Lab, front: StubS3, engine: str
) -> None:
    folder = begin(lab)
    # More than may be in flight at once, so that no late file has been read when the early ones are held.
    for number in range(70):
        put(folder, f"{EARLY} {number:02d}")
    kinds = ("grows", "shrinks", "replaced", "rewritten", "emptied", "to link", "to fifo", "to folder", "vanishes")
    for kind in kinds:
        put(folder, f"{LATE} {kind}", "x" * 1000)
    put(folder, f"{LATE} folder/inner")

    def change(folder: Path) -> None:
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
        subprocess.run(["rm", "-r", str(folder / f"{LATE} folder")], check=True)

    hold_early_files(lab, front, change, engine=engine, expect=3)
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
    for number in range(70):
        put(folder, f"{EARLY} {number:02d}")
    first = folder / f"{EARLY} 00"
    seen = Turnstile(front, "PutObject", fits=lambda request: EARLY in request.key, free=20)
    worker = lab.worker(**front_env(front))
    seen.wait()
    before = first.stat()
    first.write_bytes(b"changed".ljust(before.st_size, b"!"))
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same mtime: only the ctime tells
    seen.open()
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, output
    record = manifest(lab)[f"{ODD}/{first.name}"]
    assert record["ctime_ns"] == before.st_ctime_ns, "the manifest tells of the bytes that were sent"
    (lab.joblist / f"{JOB}.txt").write_text(job_text(lab).replace("success", "todo", 1))
    assert transfer(lab)["files_sent"] == 1
    assert_books(lab, {})


@ENGINES
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
    (lab.joblist / f"{JOB}.txt").write_text(job_text(lab).replace("success", "todo", 1))
    transfer(lab, "--engine", engine)
    assert_books(lab, {})
