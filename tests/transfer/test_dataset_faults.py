"""One dataset against an S3 that fails: what is told, what ends the transfer, what is never called a success."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhaul.errors import (
    AccessDenied,
    BucketUnusable,
    BulkhaulError,
    ClaimLost,
    ClockSkewed,
    CredentialsError,
    IntegrityFailed,
    ObjectRefused,
    S3Error,
    SourceError,
    Stopped,
    StorageError,
    Transient,
)
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.sources.tree import LocalFile
from bulkhaul.transfer.dataset import (
    Progress,
)
from bulkhaul.transfer.manifest import failed
from bulkhaul.transfer.upload import STORM, Storm
from transfer.outcomes import FILES, keys, outcomes
from transfer.rig import MemoryEngine, Rig, write_tree


def fails(kind: type[S3Error], *names: str) -> object:
    def before_put(key: str) -> None:
        if not names or key.removeprefix("p/plate/") in names:
            raise kind(key, "it was told to fail", "see the test")

    return before_put


def test_a_name_that_s3_refuses_is_never_sent(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, {"good": b"1", "back\\slash": b"2", "new\nline": b"3"})
    (rig.source / os.fsdecode(b"latin\xe9")).write_bytes(b"4")
    report = rig.transfer()
    assert not report.ok
    assert engine.puts == ["p/plate/good"]
    assert {name for name, _reason in report.failures} == {"back\\slash", "new\nline", "latin\udce9"}
    assert all(reason.startswith("refused: ") for _name, reason in report.failures)


def test_a_vanished_file_is_a_failed_record(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, {"a": b"x", "b": b"x"})

    def before_put(_key: str) -> None:
        time.sleep(0.5)  # until the plan has seen b
        (rig.source / "b").unlink()

    engine.before_put = before_put
    report = rig.transfer(max_concurrency=1)
    assert report.failures == (("b", "vanished while it was read"),)
    assert (report.files_sent, report.files_failed) == (1, 1)


def test_a_file_that_always_changes_fails_after_the_second_reading(
    rig: Rig, engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(rig.source, {"a": b"x", "b": b"x"})
    restless, read, readings = rig.source / "a", os.read, itertools.count(1)

    # A writer that is always in time: no thread or process is, on a busy machine.
    def read_and_touch(fd: int, length: int) -> bytes:
        data = read(fd, length)
        if os.fstat(fd).st_ino == restless.stat().st_ino:
            os.utime(restless, ns=(0, next(readings)))
        return data

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read_and_touch)
        report = rig.transfer()

    assert report.failures == (("a", "changed while it was read"),)
    assert next(readings) > 2
    assert engine.puts == ["p/plate/b"]
    assert rig.transfer().ok


PER_FILE = [ObjectRefused, IntegrityFailed, S3Error]


@pytest.mark.parametrize("kind", PER_FILE)
def test_a_fault_of_one_file_is_a_failed_record_and_the_rest_arrives(
    rig: Rig, engine: MemoryEngine, kind: type[S3Error]
) -> None:
    write_tree(rig.source, FILES)
    engine.before_put = fails(kind, "0.0")  # type: ignore[assignment]
    report = rig.transfer()
    assert report.failures == (("0.0", "it was told to fail"),)
    assert engine.objects.keys() == keys(FILES) - keys(["0.0"]), "no manifest is put for a dataset that is not whole"
    assert outcomes(rig)["0.0"] == "it was told to fail"
    engine.before_put = lambda _key: None
    engine.puts.clear()
    assert rig.transfer().ok
    assert set(engine.puts) == keys(["0.0"]) | {"p/plate.manifest.jsonl.gz"}


def test_what_arrived_damaged_is_read_and_sent_once_more(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, {"a": b"1"})
    tries = []

    def before_put(key: str) -> None:
        tries.append(key)
        if len(tries) == 1:
            raise IntegrityFailed(key, "BadDigest", "again")

    engine.before_put = before_put
    assert rig.transfer().ok
    assert tries[:2] == ["p/plate/a"] * 2


FATAL = [CredentialsError, AccessDenied, BucketUnusable, ClockSkewed]


@pytest.mark.parametrize("kind", FATAL)
def test_a_fault_of_all_files_ends_the_transfer_at_once(rig: Rig, engine: MemoryEngine, kind: type[S3Error]) -> None:
    write_tree(rig.source, {f"{number:04}": b"x" for number in range(3_000)})
    asked = []

    def before_put(key: str) -> None:
        asked.append(key)
        if len(asked) > 100:
            raise kind(key, "it was told to fail", "see the test")

    engine.before_put = before_put
    with pytest.raises(kind, match="told to fail"):
        rig.transfer()
    assert len(asked) < 300
    assert not rig.manifest.exists()
    engine.before_put = lambda _key: None
    sent = set(engine.puts)
    engine.puts.clear()
    assert rig.transfer().ok
    assert not sent & set(engine.puts), "what had arrived was sent again"


@pytest.mark.parametrize("error", [Stopped, ClaimLost])
def test_the_gate_ends_the_transfer_and_the_successor_goes_on(
    rig: Rig, engine: MemoryEngine, error: type[BulkhaulError]
) -> None:
    write_tree(rig.source, {f"{number:04}": b"x" for number in range(3_000)})

    def gate() -> None:
        if len(engine.puts) > 200:
            raise error("job", "stop", "later")

    rig.gate = gate
    with pytest.raises(error):
        rig.transfer()
    assert 200 < len(engine.puts) < 400
    rig.gate = lambda: None
    sent = set(engine.puts)
    engine.puts.clear()
    assert rig.transfer().ok
    assert not sent & set(engine.puts)


def test_a_gate_that_closes_after_the_plan_writes_no_manifest(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)

    def gate() -> None:
        if len(engine.listings) > 1:
            raise ClaimLost("job", "a newer generation owns it", "leave it")

    rig.gate = gate
    with pytest.raises(ClaimLost):
        rig.transfer()
    assert not rig.manifest.exists()


def test_a_storm_of_network_faults_ends_the_transfer() -> None:
    error = Transient("key", "connection reset", "again")
    storm = Storm(3)
    record = failed(LocalFile("a", 1, 1, 1, 1), "connection reset")
    assert storm.noted(error, record) is record
    storm.noted(error, record)
    storm.over()  # one that arrives breaks the row
    storm.noted(error, record)
    storm.noted(SourceError("a", "no right to read", "none"), record)  # a fault of its own counts for nothing
    storm.noted(error, record)
    with pytest.raises(Transient):
        storm.noted(error, record)


def test_a_policy_that_refuses_every_file_ends_the_transfer_after_a_hundred(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, {f"{number:03d}": b"x" for number in range(400)})
    asked: list[str] = []

    def refuse(key: str) -> None:
        asked.append(key)
        raise ObjectRefused(key, "S3 refuses this object (InvalidRequest: KMS is required)", "see the reason")

    engine.before_put = refuse
    with pytest.raises(ObjectRefused, match="KMS is required"):
        rig.transfer()
    assert STORM <= len(asked) < STORM + 64  # those in flight


class WhenVerifying(list[Progress]):
    """The progress of a run, and one call at the beginning of its verification."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self._call = call

    def append(self, progress: Progress) -> None:
        super().append(progress)
        if progress.stage == "verify":
            self._call()


def zero_a_line(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], bytes(len(lines[-1]) - 1), b"\n"]))


def lose_a_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize("damage", [zero_a_line, lose_a_line, Path.unlink])
def test_records_that_are_lost_on_the_way_to_the_manifest_are_a_storage_error_and_no_success(
    rig: Rig, engine: MemoryEngine, damage: Callable[[Path], None]
) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    manifest = rig.manifest.read_bytes()
    write_tree(rig.source, {"0.0": b"KUNCH", "a/b": b"grown", "new": b""})
    engine.puts.clear()
    rig.seen = WhenVerifying(lambda: damage(rig.partials[-1]))
    with pytest.raises(StorageError, match=r"\d records for 7 entries of the tree") as caught:
        rig.transfer()
    assert caught.value.thing == str(rig.partials[-1])
    assert rig.manifest.read_bytes() == manifest
    assert engine.bodies["p/plate.manifest.jsonl.gz"] == manifest
    assert set(engine.puts) == keys(["0.0", "a/b", "new"])

    rig.seen = []
    assert rig.transfer().ok
    assert set(outcomes(rig)) == {*FILES, "new"}


def test_an_object_that_is_not_listed_after_the_put_is_a_failed_record(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    engine.after_put = lambda _key: engine.objects.pop("p/plate/0.0", None) and None
    report = rig.transfer()
    assert report.failures == (("0.0", "S3 does not list it"),)


def test_an_etag_that_is_not_the_one_of_our_put_is_a_failed_record(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)

    def overwrite(key: str) -> None:
        if key == "p/plate/z.csv":
            engine.objects[key] = RemoteObject(key, 5000, "f" * 32)

    engine.after_put = overwrite
    report = rig.transfer()
    assert [name for name, _ in report.failures] == ["z.csv"]
    assert "ETag" in report.failures[0][1]
