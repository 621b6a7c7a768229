"""Entries that are no readable file: skipped or failed by name, and after their mending all of it arrives."""

from __future__ import annotations

import os
import socket
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
from e2e.odd_entries import ODD, assert_clear, begin, put
from e2e.oracle import plain_client, remote_keys
from e2e.poor_lab import PoorLab

pytestmark = pytest.mark.s3


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


def test_unreadable_files_and_folders_fail_by_name_and_arrive_after_a_chmod(poor_lab: PoorLab, engine: str) -> None:
    folder = begin(poor_lab)
    secret = put(folder, "secret")
    large = put(folder, "large", "x" * 6_000_000)
    put(folder, "closed/inner")
    put(folder, "closed/other")
    listed = put(folder, "listed/inner")
    put(folder, "open")
    poor_lab.hand_over()
    entries = tree_entries(plate(poor_lab))
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
    assert set(records) == entries - hidden | {f"{ODD}/closed/"}
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
    begin(poor_lab)
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
