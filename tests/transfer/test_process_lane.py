"""Sender processes: real ones, killed, stopped and refused; the files arrive all the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import pytest

from bulkhaul.errors import ClaimLost, S3Error
from bulkhaul.s3.endpoint import Endpoint, S3Options
from bulkhaul.s3.engine import Engine, RemoteObject
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from bulkhaul.sources.tree import LocalFile, walk
from bulkhaul.transfer.dataset import Senders, TransferOptions
from bulkhaul.transfer.lanes import GRACE, Halt
from bulkhaul.transfer.manifest import Outcome, Record, Verified
from bulkhaul.transfer.manifest_file import read_manifest
from bulkhaul.transfer.plan import Compare
from bulkhaul.transfer.process_lane import ProcessLane, Rules
from bulkhaul.transfer.upload import STORM
from bulkhaul.transfer.wire import Begin, Settled
from servers.seaweed import ADMIN, Seaweed
from servers.stub import script
from servers.stub_s3 import Front, StubS3
from transfer.real import real_connection
from transfer.rig import Rig, md5, write_tree

pytestmark = pytest.mark.s3

FILES = {f"c/{number:04d}": str(number).encode() * 3 for number in range(900)}


class NoPuts:
    """The engine of a process that must not put anything itself."""

    name = "none"

    def __init__(self, engine: Engine) -> None:
        self.list_objects = engine.list_objects

    def put(self, key: str, body: bytes, *, crc64nvme: str) -> str:
        raise S3Error(key, "was not sent by a sender process", "see the test")


@dataclass
class Scene:
    rig: Rig
    front: StubS3
    senders: Senders

    def without_own_puts(self) -> None:
        own = NoPuts(self.rig.connection.engine)
        self.rig.connection = replace(self.rig.connection, engine=own, portable=own)

    def put_keys(self) -> list[str]:
        """The keys of the files that arrived, as often as they did."""
        found = [
            entry.key for entry in self.front.log.entries if entry.operation == "PutObject" and entry.status == 200
        ]
        return [key.removeprefix("p/plate/") for key in found if not key.endswith("manifest.jsonl.gz")]

    def assert_arrived(self) -> None:
        assert sorted(record.name for record in read_manifest(self.rig.manifest) if record.in_s3) == sorted(FILES)
        assert set(self.put_keys()) == set(FILES)


@pytest.fixture
def scene(tmp_path: Path, s3_server: Seaweed, bucket: str) -> Iterator[Scene]:
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as front, Senders(2) as senders:
        senders.start()
        issued = front.tokens.issue(None)
        token = Token(issued.access_key, issued.secret_key, issued.session_token)
        connection = real_connection(front.url, bucket, "obstore", token)
        options = TransferOptions(listing_in_order=False, manifest_upload=False)
        rig = Rig(tmp_path, connection, options, senders=senders)
        write_tree(rig.source, FILES)
        yield Scene(rig, front, senders)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_sender_processes_send_each_small_file_once(scene: Scene) -> None:
    scene.without_own_puts()
    report = scene.rig.transfer()
    assert report.ok, report
    assert sorted(scene.put_keys()) == sorted(FILES)
    scene.assert_arrived()
    senders = {entry.headers.get("user-agent") for entry in scene.front.log.entries if entry.operation == "PutObject"}
    assert senders == {"bulkhaul"}


def test_they_serve_one_run_after_the_other_and_compare_what_has_no_record(scene: Scene) -> None:
    scene.without_own_puts()
    assert scene.rig.transfer().ok
    first = scene.rig.manifest.read_bytes()
    scene.rig.manifest.unlink()
    scene.front.log.clear()
    report = scene.rig.transfer()
    assert (report.files_sent, report.files_skipped) == (0, len(FILES))
    assert scene.put_keys() == []
    assert scene.rig.manifest.read_bytes() != first, "found to be there, not sent"
    assert all(record.verified == "md5" for record in read_manifest(scene.rig.manifest))


@pytest.mark.parametrize("victims", [1, 2])
def test_what_a_killed_sender_had_is_sent_without_it(scene: Scene, victims: int) -> None:
    pids = [handle.pid for handle in scene.senders.alive()][:victims]

    def kill(_request: object, serve: object) -> object:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return script.reset()(_request, serve)  # type: ignore[arg-type]

    scene.front.script.plan("PutObject", kill, key="p/plate/c/0300")  # type: ignore[arg-type]
    report = scene.rig.transfer()
    assert report.ok, report
    assert len(scene.senders.alive()) == 2 - victims
    assert all(gone(pid) for pid in pids)
    scene.assert_arrived()


def test_a_file_that_is_another_version_by_now_goes_back_to_the_worker(scene: Scene) -> None:
    def change(_request: object, serve: object) -> object:
        for name in ("c/0890", "c/0899"):
            (scene.rig.source / name).write_bytes(b"longer than it was before")
        return serve()  # type: ignore[operator]

    scene.front.script.plan("PutObject", change)  # type: ignore[arg-type]
    assert scene.rig.transfer().ok
    scene.assert_arrived()
    sizes = {record.name: record.size for record in read_manifest(scene.rig.manifest)}
    assert sizes["c/0890"] == sizes["c/0899"] == 25


def test_a_run_that_is_stopped_ends_what_is_in_flight_and_the_next_goes_on(scene: Scene) -> None:
    def gate() -> None:
        if len(scene.put_keys()) >= 300:
            raise ClaimLost("job", "a newer generation owns it", "leave it")

    scene.rig.gate = gate
    with pytest.raises(ClaimLost):
        scene.rig.transfer()
    sent = scene.put_keys()
    assert 300 <= len(sent) < len(FILES), "it went on, or never began"
    scene.rig.gate = lambda: None
    scene.without_own_puts()
    report = scene.rig.transfer()
    assert report.ok, report
    assert scene.put_keys()[: len(sent)] == sent, "nothing came between the runs"
    # What was in flight at the stop has been noted: nothing is sent twice.
    assert sorted(scene.put_keys()) == sorted(FILES)


def test_what_s3_asks_to_send_slower_goes_back_to_the_worker(scene: Scene) -> None:
    scene.front.script.plan("PutObject", script.slow_down(), times=8)
    report = scene.rig.transfer()
    assert report.ok, report
    assert scene.front.script.met == 8
    scene.assert_arrived()
    assert sorted(scene.put_keys()) == sorted(FILES)


def test_with_fewer_requests_than_senders_they_take_turns(scene: Scene) -> None:
    scene.rig.options = replace(scene.rig.options, max_concurrency=1)
    scene.without_own_puts()
    report = scene.rig.transfer()
    assert report.ok, report
    assert sorted(scene.put_keys()) == sorted(FILES)


def test_no_sender_outlives_its_worker(tmp_path: Path) -> None:
    with Senders(3) as senders:
        senders.start()
        pids = [handle.pid for handle in senders.alive()]
        assert len(pids) == 3
    assert all(gone(pid) for pid in pids)


def test_a_frozen_sender_keeps_no_run_from_stopping(scene: Scene) -> None:
    victim = scene.senders.alive()[0].pid

    def gate() -> None:
        if len(scene.put_keys()) >= 100:
            os.kill(victim, signal.SIGSTOP)
            raise ClaimLost("job", "a newer generation owns it", "leave it")

    scene.rig.gate = gate
    begun = time.monotonic()
    with pytest.raises(ClaimLost):
        scene.rig.transfer()
    assert time.monotonic() - begun < 2 * GRACE
    assert gone(victim)
    scene.rig.gate = lambda: None
    assert scene.rig.transfer().ok
    scene.assert_arrived()


@pytest.mark.slow
def test_a_sender_that_hangs_for_a_minute_is_ended_and_its_files_are_sent_without_it(scene: Scene) -> None:
    victim = scene.senders.alive()[0].pid

    def freeze(_request: object, serve: object) -> object:
        os.kill(victim, signal.SIGSTOP)
        return serve()  # type: ignore[operator]

    scene.front.script.plan("PutObject", freeze, key="p/plate/c/0200")  # type: ignore[arg-type]
    begun = time.monotonic()
    report = scene.rig.transfer()
    assert time.monotonic() - begun > 30, "it was given time"
    assert report.ok, report
    assert gone(victim)
    scene.assert_arrived()


def test_failures_among_what_senders_send_are_no_storm(scene: Scene) -> None:
    """Only the failures come back to the threads that count failures in a row."""
    refused = [f"c/{number:04d}" for number in range(0, 900, 6)]
    assert len(refused) > STORM
    for name in refused:
        scene.front.script.plan("PutObject", script.refuse(400, "InvalidArgument"), times=9, key=f"p/plate/{name}")
    report = scene.rig.transfer()
    assert (report.files_failed, report.files_sent) == (len(refused), len(FILES) - len(refused))


@pytest.mark.parametrize("budget", [1, 30, 10**9])
def test_whatever_the_memory_each_file_is_given_away_once(scene: Scene, budget: int) -> None:
    scene.without_own_puts()
    scene.rig.options = replace(scene.rig.options, memory_budget=budget)
    assert scene.rig.transfer().ok
    assert sorted(scene.put_keys()) == sorted(FILES)


def test_long_names_and_changing_limits_block_neither_side(tmp_path: Path) -> None:
    """Reports and tasks fill both pipes at once; each side goes on reading while it has something to write."""
    folder = "/".join(["d" * 50] * 4)
    write_tree(tmp_path, {f"{folder}/{number:06d}": b"x" for number in range(1_500)})
    digest = md5(b"x")
    files = [file for file in walk(tmp_path) if isinstance(file, LocalFile)]
    tasks = [
        Compare(
            file,
            RemoteObject(f"p/{file.name}", 1, digest),
            Record(file.name, Outcome.SENT, "", 1, 1, file.ctime_ns, digest, "A" * 12, Verified.PUT),
        )
        for file in files
    ]
    limits = cycle([512, 513])
    settled: list[int] = []

    def take(given: Sequence[object], _report: Settled) -> None:
        settled.append(len(given))
        if len(settled) % 10 == 0:
            time.sleep(0.3)  # a flush to a busy file system

    endpoint = Endpoint("http://127.0.0.1:9", "us-east-1", None, path_style=True)
    begin = Begin(tmp_path, S3Location("bucket", "p"), endpoint, S3Options(), part_size=1 << 24)
    with Senders(1) as senders:
        senders.start()
        rules = Rules(
            begin,
            limit=lambda: next(limits),
            token=lambda: Token("key", "secret"),
            gate=lambda: None,
            settled=take,
            returned=lambda task: pytest.fail(f"{task} came back"),
            halt=Halt(),
            budget=1 << 30,
            most_at_once=1_000,
        )
        for _ in range(3):
            lane = ProcessLane(senders, rules)
            assert lane.open(expecting=len(tasks))
            for start in range(0, len(tasks), 64):
                lane.put(tasks[start : start + 64])
            lane.drain()
            lane.close(until=time.monotonic() + GRACE)
    assert sum(settled) == 3 * len(tasks)
