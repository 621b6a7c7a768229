"""What a transfer leaves and says: the manifest, its progress, a dry run, and the audit of all that."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bulkhaul.errors import AccessDenied, IntegrityFailed, S3Error, SourceError, Stopped
from bulkhaul.sources.tree import walk
from bulkhaul.transfer.dataset import (
    Discrepancy,
    SyncLevel,
    TransferOptions,
    audit_dataset,
    plan_dataset,
)
from bulkhaul.transfer.manifest_file import read_manifest
from transfer.outcomes import FILES, outcomes
from transfer.rig import MemoryEngine, Rig, connection_of, folder_wise, write_tree


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


def test_a_manifest_that_does_not_arrive_is_no_success(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)

    def before_put(key: str) -> None:
        if key.endswith(".manifest.jsonl.gz"):
            raise IntegrityFailed(key, "what arrived is not what was sent", "look at the memory")

    engine.before_put = before_put
    with pytest.raises(S3Error, match="the manifest could not be put"):
        rig.transfer()
    engine.before_put = lambda _key: None
    assert rig.transfer().ok
    assert engine.has("p/plate.manifest.jsonl.gz")


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


def test_a_manifest_that_says_all_of_it_already_is_left_as_it_is(rig: Rig) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    before = rig.manifest.stat()
    assert rig.transfer().files_skipped == len(FILES)
    assert rig.manifest.stat() == before


def test_entries_that_come_or_go_make_a_new_manifest(rig: Rig) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    for change in (
        lambda: (rig.source / "a b").unlink(),
        lambda: (rig.source / "é").unlink(),  # the last one: nothing in the tree comes after it
        lambda: (rig.source / "link").symlink_to("0.0"),
        lambda: (rig.source / "link").unlink(),
    ):
        before = rig.manifest.stat()
        change()
        assert rig.transfer().ok
        assert rig.manifest.stat() != before
        assert set(outcomes(rig)) == {path.relative_to(rig.source).as_posix() for path in files_below(rig.source)}


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]


def test_what_only_a_run_that_was_stopped_knows_comes_into_the_manifest(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, FILES)
    rig.transfer()
    (rig.source / "0.0").write_bytes(b"other")

    def stop_before_the_manifest() -> None:
        if rig.seen[-1].stage == "manifest":
            raise Stopped("transfer", "told to", "again")

    rig.gate = stop_before_the_manifest
    with pytest.raises(Stopped):
        rig.transfer()
    rig.gate = lambda: None
    engine.puts.clear()
    assert rig.transfer().ok
    assert set(engine.puts) == {"p/plate.manifest.jsonl.gz"}
    [record] = [record for record in read_manifest(rig.manifest) if record.name == "0.0"]
    assert record.describes(next(file for file in walk(rig.source) if file.name == "0.0"))  # type: ignore[arg-type]


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
