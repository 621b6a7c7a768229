"""One dataset against an S3 in memory: what is sent and what is left alone."""

from __future__ import annotations

import os

import pytest

from bulkhaul.s3.engine import once
from bulkhaul.transfer.dataset import (
    SyncLevel,
    TransferOptions,
)
from bulkhaul.transfer.manifest_file import read_manifest, write_manifest
from transfer.outcomes import FILES, keys, outcomes
from transfer.rig import MemoryEngine, Rig, folder_wise, write_tree


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
    now = record._replace(mtime_ns=found.st_mtime_ns, ctime_ns=found.st_ctime_ns)
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


def pages_of(rig: Rig, files: int) -> None:
    write_tree(rig.source, {f"{number:04}": b"x" for number in range(files)})


def test_the_proof_lists_each_page_of_a_long_listing_by_itself(rig: Rig, engine: MemoryEngine) -> None:
    pages_of(rig, 2_500)
    assert rig.transfer().ok
    plan, *proof, manifest = engine.listings
    assert plan == "p/plate/"
    assert sorted(proof) == ["p/plate/", "p/plate/0999", "p/plate/1999"]
    assert manifest.endswith(".manifest.jsonl.gz")
    engine.listings.clear()
    assert rig.transfer().ok
    assert engine.listings[:-1] == ["p/plate/"], "nothing was sent, so there is nothing to prove"


def test_a_server_that_begins_each_page_anew_is_believed_through_the_spill(rig: Rig, engine: MemoryEngine) -> None:
    pages_of(rig, 1_500)
    listed = engine.list_objects
    engine.list_objects = lambda prefix, after="", repeat=once: listed(prefix, repeat=repeat)  # type: ignore[method-assign]
    report = rig.transfer()
    assert report.ok, report
    assert report.files_sent == len(set(engine.puts)) - 1 == len(engine.puts) - 1 == 1_500
