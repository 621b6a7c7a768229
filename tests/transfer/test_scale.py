"""Memory stays level whatever the number of files, and any interleaving of kills ends in the source's image."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bulkhaul.errors import Stopped
from bulkhaul.s3.engine import RemoteObject, Repeat, once
from bulkhaul.s3.location import S3Location
from bulkhaul.sources.tree import LocalFile
from bulkhaul.transfer.manifest import Outcome, Record, Verified
from bulkhaul.transfer.plan import Skip, plan
from bulkhaul.transfer.terms import SyncLevel
from bulkhaul.transfer.verify import verify
from transfer.rig import MemoryEngine, Rig, connection_of, write_tree


def write_many(folder: Path, files: int) -> None:
    for number in range(files):
        path = folder / f"{number // 500:03}" / f"{number % 500:03}"
        if number % 500 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(b"x")


def peak_of(rig: Rig) -> int:
    tracemalloc.start()
    try:
        report = rig.transfer()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.ok
    return peak


class Forgetful(MemoryEngine):
    """Keeps nothing but a count; lists what a folder of so many files must have become."""

    def __init__(self, files: int) -> None:
        super().__init__(keep_bodies=False)
        self.files = files
        self.sent = 0

    def put(self, key: str, body: bytes, *, crc64nvme: str) -> str:
        with self.lock:
            self.sent += 1
        return ETAG

    def list_objects(self, prefix: str, *, after: str = "", repeat: Repeat = once) -> Iterator[RemoteObject]:
        if self.sent and prefix.endswith("/"):
            begin = int(after[-7:].replace("/", "")) // 1000 * 500 + int(after[-3:]) + 1 if after else 0
            for number in range(begin, self.files):
                yield RemoteObject(f"{prefix}{number // 500:03}/{number % 500:03}", 1, ETAG)


ETAG = "9dd4e461268c8034f5c8564e155c67a6"  # the MD5 of `x`
SPILL_LINE = 400  # bytes; one line of a run that is sorted in memory, of which there are 100,000 at most


@pytest.mark.slow
def test_memory_grows_by_no_more_than_one_run_of_the_spill(tmp_path: Path) -> None:
    first, again = {}, {}
    for files in (1_000, 10_000):
        rig = Rig(tmp_path / str(files), connection_of(Forgetful(files)))
        write_many(rig.source, files)
        first[files] = peak_of(rig)
        again[files] = peak_of(rig)
    assert first[10_000] - first[1_000] < 9_000 * SPILL_LINE, first
    assert again[10_000] - again[1_000] < 500_000, again


def streams(entries: int) -> int:
    """The peak of planning and verifying so many entries that stand in S3 already."""
    names = [f"{number // 500:05}/{number % 500:03}" for number in range(500)]

    def name(number: int) -> str:
        return f"{number // 500:05}/{names[number % 500][-3:]}"

    def records() -> Iterator[Record]:
        return (Record(name(n), Outcome.SENT, "", 1, 1, 1, ETAG, "", Verified.PUT) for n in range(entries))

    def listing() -> Iterator[RemoteObject]:
        return (RemoteObject(f"p/{name(n)}", 1, ETAG) for n in range(entries))

    tree = (LocalFile(name(n), 1, 1, 1, 1) for n in range(entries))
    here = S3Location("bucket", "p")
    tracemalloc.start()
    try:
        made = plan(tree, listing(), records(), location=here, sync_level=SyncLevel.DEFAULT)
        assert sum(isinstance(decision, Skip) for decision in made) == entries
        assert sum(record.in_s3 for record in verify(records(), listing(), location=here)) == entries
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_plan_and_verify_hold_one_entry_of_each_stream() -> None:
    assert streams(20_000) < streams(2_000) + 20_000


@pytest.mark.parametrize("seed", range(12))
def test_any_row_of_stops_changes_and_repetitions_ends_in_the_image_of_the_source(tmp_path: Path, seed: int) -> None:
    """A model: random stops, edits between the runs, lost manifests and torn partials; then one run to the end."""
    chance = random.Random(seed)
    engine = MemoryEngine()
    rig = Rig(tmp_path, connection_of(engine))
    files = {f"{chance.choice('ab -')}{number}/{number}.x": chance.randbytes(9) for number in range(120)}
    files |= {"z.zarr/0": b"0", "z.zarr/.zarray": b"{}"}
    write_tree(rig.source, files)
    for _ in range(6):
        stop_at = len(engine.puts) + chance.randint(0, 60)

        def gate(stop_at: int = stop_at) -> None:
            if len(engine.puts) >= stop_at:
                raise Stopped("worker", "chance", "again")

        rig.gate = gate
        with suppress(Stopped):
            rig.transfer()
        name = chance.choice(sorted(files))
        files[name] = chance.randbytes(chance.randint(8, 10))
        write_tree(rig.source, {name: files[name]})
        if rig.partials and chance.random() < 0.5:
            torn = rig.partials[-1]
            torn.write_bytes(torn.read_bytes()[: -chance.randint(1, 60)])
        if chance.random() < 0.2:
            rig.manifest.unlink(missing_ok=True)
    rig.gate = lambda: None
    report = rig.transfer()
    assert report.ok
    engine.bodies.pop("p/plate.manifest.jsonl.gz")
    assert engine.bodies == {f"p/plate/{name}": body for name, body in files.items()}
    engine.puts.clear()
    assert rig.transfer().files_sent == 0
    assert engine.puts == []
