"""A reader of the target at any moment: wherever metadata stand, all that they describe stands too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from bulkhaul.errors import ObjectRefused, Stopped
from bulkhaul.transfer.manifest_file import read_manifest
from bulkhaul.transfer.zarr import is_metadata
from transfer.rig import MemoryEngine, Rig, write_tree
from unprivileged import reachable_folder, run_unprivileged

PREFIX = "p/plate/"
MANIFEST_KEY = "p/plate.manifest.jsonl.gz"


def plate(arrays: int = 3, chunks: int = 40) -> dict[str, bytes]:
    """A Zarr v3 group and a v2 group side by side, with files of no meaning to Zarr between them."""
    files = {"readme.txt": b"r", "v3.zarr/zarr.json": b"{}", "v2.zarr/.zgroup": b"{}", "v2.zarr/.zmetadata": b"{}"}
    for array in range(arrays):
        files[f"v3.zarr/{array}/zarr.json"] = b"{}"
        files[f"v2.zarr/{array}/.zarray"] = b"{}"
        files[f"v2.zarr/{array}/.zattrs"] = b"{}"
        for chunk in range(chunks):
            files[f"v3.zarr/{array}/c/{chunk // 10}/{chunk % 10}"] = b"x"
            files[f"v2.zarr/{array}/{chunk // 10}.{chunk % 10}"] = b"x"
    return files


@dataclass
class Reader:
    """Looks after each put, at what stands in S3 then."""

    engine: MemoryEngine
    files: set[str]
    looks: int = 0

    def __call__(self, _key: str) -> None:
        self.looks += 1
        standing = {key.removeprefix(PREFIX) for key in self.engine.objects}
        for name in standing:
            if is_metadata(name):
                folder = name.rpartition("/")[0] + "/"
                below = {file for file in self.files if file.startswith(folder)}
                deeper = {file for file in below if not is_metadata(file) or file.count("/") > name.count("/")}
                assert deeper <= standing, f"{name} stands over missing {sorted(deeper - standing)[:3]}"


def standing(engine: MemoryEngine) -> set[str]:
    return {key.removeprefix(PREFIX) for key in engine.objects if key.startswith(PREFIX)}


def test_a_reader_never_sees_metadata_over_missing_chunks(rig: Rig, engine: MemoryEngine) -> None:
    files = plate()
    write_tree(rig.source, files)
    reader = Reader(engine, set(files))
    engine.after_put = reader
    assert rig.transfer().ok
    assert reader.looks == len(files) + 1
    assert standing(engine) == set(files)
    roots = [key.removeprefix(PREFIX) for key in engine.puts[-4:-1]]
    assert set(roots) == {"v3.zarr/zarr.json", "v2.zarr/.zgroup", "v2.zarr/.zmetadata"}


def test_a_reader_that_looks_between_two_generations_sees_none_either(rig: Rig, engine: MemoryEngine) -> None:
    files = plate()
    write_tree(rig.source, files)
    engine.after_put = Reader(engine, set(files))

    def stop_after(number: int) -> None:
        if len(engine.puts) >= number:
            raise Stopped("worker", "time limit", "again")

    for number in range(30, len(files), 30):
        rig.gate = lambda number=number: stop_after(number)  # type: ignore[misc]
        with pytest.raises(Stopped):
            rig.transfer()
    rig.gate = lambda: None
    assert rig.transfer().ok
    assert standing(engine) == set(files)


def test_a_failed_chunk_withholds_the_metadata_above_it_and_nothing_else(rig: Rig, engine: MemoryEngine) -> None:
    files = plate()
    write_tree(rig.source, files)
    bad = "v3.zarr/1/c/2/3"

    def before_put(key: str) -> None:
        if key == PREFIX + bad:
            raise ObjectRefused(key, "told to", "none")

    engine.before_put = before_put
    report = rig.transfer()
    withheld = {"v3.zarr/1/zarr.json", "v3.zarr/zarr.json"}
    assert dict(report.failures) == {bad: "told to"} | dict.fromkeys(withheld, f"withheld: {bad} did not arrive")
    assert standing(engine) == set(files) - withheld - {bad}
    engine.before_put = lambda _key: None
    engine.after_put = Reader(engine, set(files))
    engine.puts.clear()
    assert rig.transfer().ok
    assert {key.removeprefix(PREFIX) for key in engine.puts[:-1]} == withheld | {bad}


@pytest.mark.parametrize("fault", ["symlink", "odd name"])
def test_a_chunk_that_was_left_out_withholds_too(rig: Rig, engine: MemoryEngine, fault: str) -> None:
    files = plate()
    write_tree(rig.source, files)
    if fault == "symlink":
        (rig.source / "v2.zarr/0/9.9").symlink_to("0.0")
    else:
        write_tree(rig.source, {"v2.zarr/0/9\\9": b"x"})
    report = rig.transfer()
    assert not report.ok
    missing = set(files) - standing(engine)
    assert missing == {"v2.zarr/0/.zarray", "v2.zarr/0/.zattrs", "v2.zarr/.zgroup", "v2.zarr/.zmetadata"}


def test_an_empty_folder_withholds_nothing(rig: Rig, engine: MemoryEngine) -> None:
    files = plate()
    write_tree(rig.source, files)
    (rig.source / "v3.zarr/0/c/empty").mkdir()
    assert rig.transfer().ok
    assert standing(engine) == set(files)


def test_a_chunk_that_verification_misses_withholds_too(rig: Rig, engine: MemoryEngine) -> None:
    files = plate()
    write_tree(rig.source, files)
    bad = f"{PREFIX}v2.zarr/2/0.0"
    engine.after_put = lambda _key: engine.objects.pop(bad, None) and None
    report = rig.transfer()
    assert not report.ok
    assert not standing(engine) & {"v2.zarr/2/.zarray", "v2.zarr/.zgroup", "v2.zarr/.zmetadata"}
    assert "v2.zarr/1/.zarray" in standing(engine)


def test_metadata_that_fail_withhold_those_above_them(rig: Rig, engine: MemoryEngine) -> None:
    files = plate()
    write_tree(rig.source, files)

    def before_put(key: str) -> None:
        if key == f"{PREFIX}v3.zarr/1/zarr.json":
            raise ObjectRefused(key, "told to", "none")

    engine.before_put = before_put
    assert not rig.transfer().ok
    assert set(files) - standing(engine) == {"v3.zarr/1/zarr.json", "v3.zarr/zarr.json"}


def test_old_metadata_over_missing_chunks_are_told_and_nothing_is_deleted(rig: Rig, engine: MemoryEngine) -> None:
    files = plate()
    write_tree(rig.source, files)
    assert not rig.transfer().notes
    del engine.objects[f"{PREFIX}v3.zarr/1/c/0/0"]
    engine.puts.clear()
    report = rig.transfer()
    assert engine.puts == [f"{PREFIX}v3.zarr/1/c/0/0", MANIFEST_KEY]
    assert report.ok
    assert len(report.notes) == 1
    assert "metadata of 2 Zarr folder(s) stood in S3 over missing files" in report.notes[0]
    assert "v3.zarr/1/c/0/0" in report.notes[0]
    marks = {record.name: record.reason for record in read_manifest(rig.manifest) if record.reason}
    stood = "stood over missing files, the first 'v3.zarr/1/c/0/0'"
    assert marks == {"v3.zarr/1/zarr.json": stood, "v3.zarr/zarr.json": stood}
    engine.puts.clear()
    rig.transfer()
    assert not engine.puts, "what the manifest says of it stays"


def test_metadata_that_changed_alone_are_sent_alone(rig: Rig, engine: MemoryEngine) -> None:
    write_tree(rig.source, plate())
    rig.transfer()
    engine.puts.clear()
    engine.listings.clear()
    write_tree(rig.source, {"v3.zarr/1/zarr.json": b'{"new": 1}'})
    assert rig.transfer().files_sent == 1
    assert set(engine.puts) == {f"{PREFIX}v3.zarr/1/zarr.json", MANIFEST_KEY}
    assert engine.listings.count(PREFIX) == 2, "one for the plan, one to verify"


WITHOUT_RIGHTS = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from transfer.rig import MemoryEngine, Rig, connection_of, write_tree
rig = Rig(Path(sys.argv[1]), connection_of(MemoryEngine()))
write_tree(rig.source, {"a.zarr/c/0": b"0", "a.zarr/zarr.json": b"{}", "b.zarr/0": b"0", "b.zarr/.zarray": b"{}"})
write_tree(rig.source, {"c.zarr/0": b"0", "c.zarr/.zarray": b"{}"})
folder, file = rig.source / "a.zarr/c", rig.source / "b.zarr/0"
folder.chmod(0)
file.chmod(0)
first = rig.transfer()
standing = sorted(rig.connection.engine.objects)
folder.chmod(0o755)
file.chmod(0o644)
print(json.dumps([dict(first.failures), standing, rig.transfer().ok]))
"""


def test_what_cannot_be_read_is_named_and_withholds() -> None:
    with reachable_folder() as folder:
        folder.chmod(0o777)
        done = run_unprivileged(WITHOUT_RIGHTS, folder, Path(__file__).parents[1])
        assert done.returncode == 0, done.stderr
    failures, standing, ok = json.loads(done.stdout)
    assert failures == {
        "a.zarr/c/": "unreadable: Permission denied",
        "a.zarr/zarr.json": "withheld: a.zarr/c/ did not arrive",
        "b.zarr/0": "no right to read",
        "b.zarr/.zarray": "withheld: b.zarr/0 did not arrive",
    }
    assert standing == ["p/plate/c.zarr/.zarray", "p/plate/c.zarr/0"]
    assert ok
