from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import Stopped
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.sources.tree import LocalFile
from bulkhaul.transfer.backlog import Backlog
from bulkhaul.transfer.lanes import Abandoned
from bulkhaul.transfer.manifest import Outcome, Record
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.spool import decode_task, encode_task

FILE = st.builds(LocalFile, st.text(min_size=1), st.integers(0), st.integers(), st.integers(), st.integers(0))
RECORD = st.none() | st.builds(Record, st.text(min_size=1), st.just(Outcome.SENT), st.text())
TASK = st.builds(Upload, FILE, st.sampled_from(["missing", "other size"])) | st.builds(
    Compare, FILE, st.builds(RemoteObject, st.text(), st.integers(0), st.text()), RECORD
)


def upload(number: int) -> Upload:
    return Upload(LocalFile(f"{number:06}", 1, 1, 1, 1), "missing")


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
    assert list(backlog.tasks()) == [upload(number) for number in range(5_000)]
    thread.join()
    backlog.close()


def test_whoever_waits_gets_a_single_task_at_once(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path, gate=lambda: None)
    tasks = backlog.tasks()
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
        next(backlog.tasks())
    backlog.close()


def test_a_plan_that_nobody_follows_ends_without_a_noise(tmp_path: Path) -> None:
    backlog = Backlog(tmp_path, gate=lambda: None)
    backlog.put(upload(1))
    backlog.cancel()
    backlog.close()
    with pytest.raises(Abandoned):
        backlog.put(upload(2))
    backlog.end(Abandoned("plan", "stopped", "see the first error"))
