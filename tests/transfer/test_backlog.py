from __future__ import annotations

import io
import os
import tempfile
import threading
import time
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import Stopped, StorageError
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.sources.tree import LocalFile
from bulkhaul.transfer.backlog import Backlog
from bulkhaul.transfer.lanes import Abandoned
from bulkhaul.transfer.manifest import Outcome, Record
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.spool import decode_batch, decode_task, encode_batch, encode_task
from transfer.rig import NOTICED

FILE = st.builds(LocalFile, st.text(min_size=1), st.integers(0), st.integers(), st.integers(), st.integers(0))
RECORD = st.none() | st.builds(Record, st.text(min_size=1), st.just(Outcome.SENT), st.text())
TASK = st.builds(Upload, FILE, st.sampled_from(["missing", "other size"])) | st.builds(
    Compare, FILE, st.builds(RemoteObject, st.text(), st.integers(0), st.text()), RECORD
)


def upload(number: int) -> Upload:
    return Upload(LocalFile(f"{number:06}", 1, 1, 1, 1), "missing")


@given(st.lists(TASK))
def test_a_batch_of_tasks_survives_its_way_through_the_file(tasks: list[Upload | Compare]) -> None:
    assert decode_batch(encode_batch(tasks)) == tasks


@given(TASK)
def test_a_task_survives_its_line(task: Upload | Compare) -> None:
    line = encode_task(task)
    assert b"\n" not in line
    assert decode_task(line) == task


def test_tasks_come_in_their_order_while_more_are_put(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path, gate=lambda: None)

    def produce() -> None:
        for number in range(5_000):
            backlog.put(upload(number))
        backlog.end()

    thread = threading.Thread(target=produce)
    thread.start()
    assert list(chain.from_iterable(backlog.batches())) == [upload(number) for number in range(5_000)]
    thread.join()
    backlog.close()


def test_whoever_waits_gets_a_single_task_at_once(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path, gate=lambda: None)
    tasks = chain.from_iterable(backlog.batches())
    threading.Timer(0.1, backlog.put, [upload(1)]).start()
    begun = time.monotonic()
    assert next(tasks) == upload(1)
    assert time.monotonic() - begun < 5
    backlog.end()
    assert list(tasks) == []
    backlog.close()


def test_an_error_voids_what_is_left(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path, gate=lambda: None)
    for number in range(1_000):
        backlog.put(upload(number))
    backlog.end(Stopped("plan", "stopped", "again"))
    with pytest.raises(Stopped):
        next(backlog.batches())
    backlog.close()


def test_a_plan_that_nobody_follows_ends_without_a_noise(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path, gate=lambda: None)
    backlog.put(upload(1))
    backlog.cancel()
    backlog.close()
    with pytest.raises(Abandoned):
        backlog.put(upload(2))
    backlog.end(Abandoned("plan", "stopped", "see the first error"))


class SparingFile(io.FileIO):
    """A file that takes at most seven bytes at once, as on a disk that is nearly full."""

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        return super().write(data[:7])


def test_a_file_that_takes_less_than_it_is_given_loses_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sparing_file(**_options: object) -> SparingFile:
        return SparingFile(os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT), "r+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", sparing_file)
    backlog = Backlog(tmp_path, gate=lambda: None)
    for number in range(600):
        backlog.put(upload(number))
    backlog.end()
    assert list(chain.from_iterable(backlog.batches())) == [upload(number) for number in range(600)]
    backlog.close()


def test_a_file_that_gives_back_less_than_was_written_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog = Backlog(tmp_path, gate=lambda: None)
    for number in range(600):
        backlog.put(upload(number))
    backlog.end()
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, start: read(fd, length, start)[:-1])
    with pytest.raises(StorageError, match="lost what was written") as caught:
        list(backlog.batches())
    assert caught.value.thing == str(tmp_path)
    backlog.close()


def test_a_stop_is_noticed_while_the_plan_hangs(tmp_path: Path) -> None:
    begun = time.monotonic()

    def gate() -> None:
        raise Stopped("worker", "time limit", "again")

    backlog = Backlog(tmp_path, gate=gate)
    backlog.put(upload(1))
    tasks = chain.from_iterable(backlog.batches())
    assert next(tasks) == upload(1)
    with pytest.raises(Stopped, match="time limit"):
        next(tasks)
    assert time.monotonic() - begun < NOTICED
    backlog.close()
