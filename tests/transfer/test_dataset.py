"""One dataset against an S3 in memory: what is sent, what is left alone, what is told."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import replace
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
    Discrepancy,
    Progress,
    SyncLevel,
    TransferOptions,
    audit_dataset,
    plan_dataset,
)
from bulkhaul.transfer.manifest import failed, read_manifest, write_manifest
from bulkhaul.transfer.upload import STORM, Storm
from transfer.rig import MemoryEngine, Rig, connection_of, folder_wise, write_tree

FILES = {"0.0": b"chunk", "a/b": b"", "a b": b"blank", "a/c/d": b"deep", "é": b"accent", "z.csv": b"x" * 5000}


def keys(names: object) -> set[str]:
    return {f"p/plate/{name}" for name in names}  # type: ignore[attr-defined]


def outcomes(rig: Rig) -> dict[str, str]:
    return {record.name: record.reason or record.outcome.value for record in read_manifest(rig.manifest)}


def fails(kind: type[S3Error], *names: str) -> object:
    def before_put(key: str) -> None:
        if not names or key.removeprefix("p/plate/") in names:
            raise kind(key, "it was told to fail", "see the test")

    return before_put


@pytest.mark.parametrize("in_order", [True, False], ids=["byte order", "folder order"])
def test_a_fresh_dataset_arrives_and_a_second_run_sends_nothing(rig: Rig, engine: MemoryEngine, in_order: bool) -> None:
    if not in_order:
        engine.order = folder_wise
    rig.options = TransferOptions(listing_in_order=in_order)
    write_tree(rig.source, FILES)
    report = rig.transfer()
    assert report.ok
    assert (report.files_sent, report.files_skipped, report.files_failed) == (len(FILES), 0, 0)
    assert report.bytes_sent == sum(map(len, FILES.values()))
    manifest = engine.bodies.pop("p/plate.manifest.jsonl.gz")
    assert manifest == rig.manifest.read_bytes()
    assert engine.bodies == {f"p/plate/{name}": body for name, body in FILES.items()}

    engine.puts.clear()
    engine.listings.clear()
    again = rig.transfer()
    assert engine.puts == []
    assert engine.listings.count("p/plate/") == 1, "nothing was sent, so there is nothing to verify"
    assert (again.files_sent, again.files_skipped, again.files_failed) == (0, len(FILES), 0)
    assert again.manifest_sha256 == report.manifest_sha256
    assert rig.manifest.read_bytes() == manifest


def test_a_break_of_the_order_that_nobody_foretold_starts_the_plan_anew(rig: Rig, engine: MemoryEngine) -> None:
    engine.order = folder_wise
    write_tree(rig.source, FILES)
    first = rig.transfer()
    assert first.ok
    for number in range(3):
        engine.put(f"p/plate/extra{number}", b"", crc64nvme="")
    engine.puts.clear()
    report = rig.transfer()
    assert (report.ok, report.extra, report.files_failed) == (True, 3, 0)
    assert set(engine.puts) <= keys(["a b"]), "what sorts behind its neighbour there looks missing, once"
    assert report.manifest_sha256 == first.manifest_sha256
    last = rig.seen[-1]
    assert last.files_done == last.files_total == len(FILES)
    assert last.bytes_done == last.bytes_total


def test_the_manifest_lists_each_entry_of_the_tree_once_and_in_order(rig: Rig) -> None:
    write_tree(rig.source, FILES)
    (rig.source / "link").symlink_to("0.0")
    (rig.source / "empty").mkdir()
    os.mkfifo(rig.source / "pipe")
    report = rig.transfer()
    assert report.ok
    names = [record.name for record in read_manifest(rig.manifest)]
    assert names == sorted([*FILES, "link", "empty/", "pipe"], key=str.encode)
    assert "1 symlink" in report.notes[0]
    assert "1 FIFO" in report.notes[0]
    assert (report.files_sent, report.files_skipped) == (len(FILES), 0)


def test_a_changed_file_is_sent_again_alone(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    engine.puts.clear()
    write_tree(rig.source, {"0.0": b"KUNCH", "a/b": b"grown", "new": b""})
    report = rig.transfer()
    assert set(engine.puts) - {"p/plate.manifest.jsonl.gz"} == keys(["0.0", "a/b", "new"])
    assert (report.files_sent, report.files_skipped) == (3, len(FILES) - 2)
    assert engine.bodies["p/plate/0.0"] == b"KUNCH"


def test_a_touched_file_is_read_and_not_sent(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    engine.puts.clear()
    os.utime(rig.source / "0.0", ns=(1, 1))
    report = rig.transfer()
    assert set(engine.puts) == {"p/plate.manifest.jsonl.gz"}, "its new time is in the manifest"
    assert outcomes(rig)["0.0"] == "same content"
    assert report.files_skipped == len(FILES)


def test_without_any_record_content_is_compared(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    rig.transfer(manifest_upload=False)
    rig.manifest.unlink()
    engine.put("p/plate/0.0", b"other", crc64nvme="")  # the same size
    engine.puts.clear()
    report = rig.transfer(manifest_upload=False)
    assert engine.puts == ["p/plate/0.0"]
    assert engine.bodies["p/plate/0.0"] == b"chunk"
    assert (report.files_sent, report.files_skipped) == (1, len(FILES) - 1)


def test_an_object_changed_by_others_is_put_right(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    engine.put("p/plate/0.0", b"other", crc64nvme="")
    rig.transfer()
    assert engine.bodies["p/plate/0.0"] == b"chunk"


@pytest.mark.parametrize(("level", "sent"), [("size", 0), ("default", 0), ("checksum", 1)])
def test_the_sync_level_says_how_much_is_read(rig: Rig, engine: MemoryEngine, level: str, sent: int) -> None:
    """A bit flipped without any trace in the metadata of file or object is found by `checksum` alone."""
    write_tree(rig.source, FILES)
    rig.transfer()
    records = list(read_manifest(rig.manifest))
    rotten = engine.objects["p/plate/0.0"]
    (rig.source / "0.0").write_bytes(b"CHUNK")
    record = next(record for record in records if record.name == "0.0")
    # The manifest of a file that had this very time: ctime cannot be set back by hand.
    found = (rig.source / "0.0").stat()
    now = replace(record, mtime_ns=found.st_mtime_ns, ctime_ns=found.st_ctime_ns)
    write_manifest(rig.manifest, [now if each is record else each for each in records], before_replace=lambda: None)
    report = rig.transfer(sync_level=SyncLevel(level))
    assert report.files_sent == sent
    assert (engine.objects["p/plate/0.0"] != rotten) is bool(sent)


def test_a_size_level_run_proves_nothing_for_a_stricter_one(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, {"a": b"right"})
    engine.put("p/plate/a", b"wrong", crc64nvme="")
    assert rig.transfer(sync_level=SyncLevel.SIZE).files_sent == 0
    assert rig.transfer().files_sent == 1
    assert engine.bodies["p/plate/a"] == b"right"


def test_extra_objects_are_told_and_left_alone(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    for number in range(7):
        engine.put(f"p/plate/extra/{number}", b"", crc64nvme="")
    engine.put("p/plate2/not ours", b"", crc64nvme="")
    report = rig.transfer()
    assert report.ok
    assert report.extra == 7
    assert any("'extra/4', ..." in note and "not ours" not in note for note in report.notes)
    assert engine.has("p/plate/extra/0")


def test_a_file_that_left_the_source_leaves_the_manifest_and_stays_in_s3(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    (rig.source / "0.0").unlink()
    report = rig.transfer()
    assert "0.0" not in outcomes(rig)
    assert report.extra == 1
    assert engine.has("p/plate/0.0")


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


@pytest.mark.parametrize("made", [False, True], ids=["missing", "empty"])
def test_a_missing_or_empty_dataset_is_an_error(rig: Rig, engine: MemoryEngine, made: bool) -> None:
    if not made:
        rig.source.rmdir()
    with pytest.raises(SourceError):
        rig.transfer()
    assert engine.puts == []
    assert not rig.manifest.exists()


def test_a_denied_manifest_is_told_and_is_no_failure(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)

    def before_put(key: str) -> None:
        if key.endswith(".manifest.jsonl.gz"):
            raise AccessDenied(key, "the grant ends at the prefix", "ask")

    engine.before_put = before_put
    report = rig.transfer()
    assert report.ok
    assert "the grant ends at the prefix" in report.notes[-1]


def test_the_manifest_stays_here_when_told_so_or_at_a_buckets_root(tmp_path: Path) -> None:
    for prefix, options in (("p", {"manifest_upload": False}), ("", {})):
        engine = MemoryEngine()
        rig = Rig(tmp_path / (prefix or "root"), connection_of(engine, prefix), TransferOptions(**options))  # type: ignore[arg-type]
        write_tree(rig.source, {"a": b""})
        assert rig.transfer().ok
        assert engine.objects.keys() == {f"{prefix}/a".strip("/")}


def test_a_damaged_manifest_is_told_and_costs_only_reading(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    rig.manifest.write_bytes(rig.manifest.read_bytes()[:-5])
    engine.puts.clear()
    report = rig.transfer()
    assert set(engine.puts) <= {"p/plate.manifest.jsonl.gz"}
    assert report.ok
    assert any("counts as absent" in note for note in report.notes)


def test_progress_ends_with_all_files_and_bytes(rig: Rig) -> None:
    write_tree(rig.source, FILES)
    (rig.source / "bad\\name").write_bytes(b"xy")
    rig.transfer()
    last = rig.seen[-1]
    assert (last.stage, last.files_done, last.files_total) == ("manifest", len(FILES) + 1, len(FILES) + 1)
    assert last.bytes_done == last.bytes_total == sum(map(len, FILES.values())) + 2
    assert (last.files_sent, last.failed, last.skipped) == (len(FILES), 1, 0)
    stages = list(dict.fromkeys(progress.stage for progress in rig.seen))
    assert stages == ["plan", "upload", "verify", "manifest"]


def test_the_totals_are_known_long_before_the_end(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, {f"{number:03}": b"xy" for number in range(150)})
    engine.before_put = lambda _key: time.sleep(0.01)
    rig.transfer(max_concurrency=1)
    on_the_way = [seen for seen in rig.seen if seen.stage == "upload" and 0 < seen.files_done < 150]
    assert on_the_way
    assert {(seen.files_total, seen.bytes_total) for seen in on_the_way} == {(150, 300)}


# Dry run and audit.


def test_a_dry_run_decides_the_same_and_writes_nothing(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    engine.order = folder_wise
    before = sorted(rig.folder.rglob("*"))
    space = rig.next_workspace()
    arguments = {"options": TransferOptions(), "workspace": space, "gate": lambda: None}
    made = list(plan_dataset(rig.source, rig.connection, **arguments))  # type: ignore[arg-type]
    assert [decision.name for decision in made] == sorted(FILES, key=str.encode)
    assert sorted(rig.folder.rglob("*")) == before
    assert engine.puts == []
    rig.transfer()
    again = list(plan_dataset(rig.source, rig.connection, **arguments))  # type: ignore[arg-type]
    assert {type(decision).__name__ for decision in again} == {"Skip"}


def audit(rig: Rig, *, level: str = "default", source: Path | None = None) -> list[Discrepancy]:
    return list(
        audit_dataset(rig.connection, rig.manifest, source=source, sync_level=SyncLevel(level), gate=lambda: None)
    )


def test_the_audit_finds_what_is_missing_or_other_without_the_source(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES | {"bad\\name": b""})
    engine.order = folder_wise
    rig.transfer()
    for name in FILES:
        (rig.source / name).unlink()
    assert audit(rig) == [Discrepancy("bad\\name", "not transferred: refused: the name has a backslash")]
    del engine.objects["p/plate/0.0"]
    engine.put("p/plate/a/b", b"grown", crc64nvme="")
    engine.put("p/plate/a b", b"BLANK", crc64nvme="")
    found = {each.name: each.reason for each in audit(rig)}
    assert found.keys() == {"0.0", "a/b", "a b", "bad\\name"}
    assert found["0.0"] == "S3 does not list it"
    assert found["a/b"] == "S3 lists 5 bytes instead of 0"
    assert "ETag" in found["a b"]


def test_the_audit_reads_the_source_again_at_the_checksum_level(rig: Rig) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    assert audit(rig, level="checksum", source=rig.source) == []
    write_tree(rig.source, {"0.0": b"KUNCH", "a b": b"longer than before"})
    (rig.source / "z.csv").unlink()
    found = {each.name: each.reason for each in audit(rig, level="checksum", source=rig.source)}
    assert found == {
        "0.0": "the source's content is not what S3 has",
        "a b": "the source has 18 bytes now, S3 has 5",
        "z.csv": "the source cannot be read: vanished while it was read",
    }
    assert audit(rig, source=rig.source) == []


@pytest.mark.parametrize("data", [None, b"rubbish"])
def test_an_audit_without_a_usable_manifest_finds_nothing_proven(rig: Rig, data: bytes | None) -> None:
    if data is not None:
        rig.manifest.write_bytes(data)
    [found] = audit(rig)
    assert found.name == rig.manifest.name
    assert "nothing proves the dataset" in found.reason
