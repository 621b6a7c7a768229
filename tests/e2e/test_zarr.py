"""Real Zarr arrays: readers take a missing chunk for fill value, so no reader may ever see metadata above one."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr

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
)
from e2e.lab import Lab
from e2e.oracle import plain_client, remote_keys
from e2e.poor_lab import PoorLab
from e2e.turnstile import Turnstile, front_env, is_probe, worker_held
from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3

FORMATS = pytest.mark.parametrize(("engine", "zarr_format"), [("obstore", 3), ("s3transfer", 2)])
NAME = "A0001.zarr"
METADATA = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}
DAMAGED = "cells/labels"  # the array that something happens to
SOUND = "nuclei/deep/area"  # another one, which must not suffer


def write_arrays(folder: Path, zarr_format: Literal[2, 3]) -> None:
    """Nested groups with attributes; arrays in small chunks, one of them partly empty, one sharded where that is."""
    numbers = np.random.default_rng(7)
    root = zarr.create_group(store=folder / NAME, zarr_format=zarr_format, attributes={"plate": "A0001"})
    # Of the one more chunks than may be in flight at once: while those are held nobody has read the last of them.
    for name, side in ((DAMAGED, 100), (SOUND, 50)):
        array = root.create_array(name, shape=(side, side), chunks=(10, 10), dtype="u2", attributes={"unit": "px"})
        array[:] = numbers.integers(1, 60_000, (side, side), dtype="u2")
    sparse = root.create_array("cells/sparse", shape=(40, 40), chunks=(10, 10), dtype="f4", fill_value=0)
    sparse[5:15, 5:15] = 1.5
    root.create_array("scalar", shape=(), dtype="i8")[...] = 42
    if zarr_format == 3:
        sharded = root.create_array("sharded", shape=(64, 64), chunks=(8, 8), shards=(32, 32), dtype="u1")
        sharded[:] = numbers.integers(0, 255, (64, 64), dtype="u1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata are no part of the Zarr 3 specification yet
        zarr.consolidate_metadata(folder / NAME)


def begin(lab: Lab, zarr_format: Literal[2, 3]) -> Path:
    """The plate with its arrays, its job extracted; the folder of the Zarr."""
    write_arrays(plate(lab), zarr_format)
    lab.extract()
    return plate(lab) / NAME


def chunk(folder: Path) -> Path:
    """A chunk of the array that something happens to: the one that sorts last."""
    chunks = [path for path in (folder / DAMAGED).rglob("*") if path.is_file() and path.name not in METADATA]
    assert len(chunks) == 100
    return max(chunks)


def name_of(lab: Lab, path: Path) -> str:
    return str(path.relative_to(plate(lab)))


def is_metadata(key: str) -> bool:
    return key.rpartition("/")[2] in METADATA


class Reader:
    """Looks at each metadata file in the moment it reaches S3: what else was there, that it speaks of?"""

    def __init__(self, front: StubS3, lab: Lab) -> None:
        self._lab = lab
        self._lock = threading.Lock()
        self._stored = set(remote_keys(plain_client(lab.env), lab.bucket, f"{PREFIX}/"))
        self.order: list[str] = []
        self.too_early: list[tuple[str, list[str]]] = []
        front.script.plan("PutObject", self._act, times=1_000_000)

    def _act(self, request: Request, serve: Callable[[], Answer]) -> Answer:
        key = request.key
        if is_probe(key) or not key.startswith(f"{PREFIX}/"):
            return serve()
        if is_metadata(key):
            with self._lock:
                self._look(key)
        answer = serve()
        if answer.status == 200:
            with self._lock:
                self._stored.add(key)
        return answer

    def _look(self, key: str) -> None:
        self.order.append(key.removeprefix(f"{PREFIX}/"))
        described = Path(key.removeprefix(PREFIX + "/")).parent
        names = [name_of(self._lab, path) for path in (plate(self._lab) / described).rglob("*") if path.is_file()]
        deeper = [name for name in names if not is_metadata(name) or Path(name).parent != described]
        missing = [name for name in deeper if f"{PREFIX}/{name}" not in self._stored]
        if missing:
            self.too_early.append((key, missing))


def assert_equal_in_s3(lab: Lab, copy: Path) -> None:
    """Download the Zarr, open it, and find in every array and group what the source has."""
    client = plain_client(lab.env)
    for key in remote_keys(client, lab.bucket, f"{PREFIX}/{NAME}/"):
        path = copy / key.removeprefix(f"{PREFIX}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(client.get_object(Bucket=lab.bucket, Key=key)["Body"].read())
    source, arrived = (zarr.open_group(folder / NAME, mode="r") for folder in (plate(lab), copy))
    found: dict[str, Any] = dict(arrived.members(max_depth=None))
    expected: dict[str, Any] = dict(source.members(max_depth=None))
    assert sorted(found) == sorted(expected)
    assert {DAMAGED, SOUND, "cells", "nuclei/deep"} <= set(expected)
    assert dict(arrived.attrs) == dict(source.attrs) == {"plate": "A0001"}
    for name, node in expected.items():
        assert dict(found[name].attrs) == dict(node.attrs)
        if isinstance(node, zarr.Array):
            np.testing.assert_array_equal(np.asarray(found[name][...]), np.asarray(node[...]))
    sound = arrived[SOUND]
    assert isinstance(sound, zarr.Array)
    assert np.asarray(sound[...]).all(), "zeros: the fill value"


@FORMATS
def test_no_reader_ever_sees_metadata_above_a_missing_chunk(
    lab: Lab, front: StubS3, tmp_path: Path, engine: str, zarr_format: Literal[2, 3]
) -> None:
    folder = begin(lab, zarr_format)
    reader = Reader(front, lab)
    transfer(lab, "--engine", engine, env=front_env(front))
    assert reader.too_early == []
    described = sorted(name_of(lab, path) for path in folder.rglob("*") if path.name in METADATA)
    assert sorted(reader.order) == described
    assert len(described) >= 8
    depths = [name.count("/") for name in reader.order]
    assert depths == sorted(depths, reverse=True), "not the deepest first"
    assert Path(reader.order[-1]).parent == Path(NAME)
    assert_books(lab, {})
    assert_equal_in_s3(lab, tmp_path / "copy")


@FORMATS
def test_killed_and_resumed_no_reader_sees_metadata_above_a_missing_chunk_either(
    lab: Lab, front: StubS3, tmp_path: Path, zarr_format: Literal[2, 3]
) -> None:
    begin(lab, zarr_format)
    for amid_metadata in (False, True):
        held = Turnstile(
            front,
            "PutObject",
            fits=lambda request, wanted=amid_metadata: (  # type: ignore[misc]
                request.key.startswith(f"{PREFIX}/")
                and not is_probe(request.key)
                and is_metadata(request.key) is wanted
            ),
            free=3 if amid_metadata else 80,
        )
        worker = lab.worker(**front_env(front))
        held.wait()
        held.kill(worker)
        keys = remote_keys(plain_client(lab.env), lab.bucket, f"{PREFIX}/")
        assert len([key for key in keys if is_metadata(key)]) == (3 if amid_metadata else 0)
        assert f"{PREFIX}/{NAME}/zarr.json" not in keys
        assert f"{PREFIX}/{NAME}/.zgroup" not in keys
    reader = Reader(front, lab)
    transfer(lab, env=front_env(front))
    assert reader.too_early == []
    assert reader.order
    assert_books(lab, {})
    assert_equal_in_s3(lab, tmp_path / "copy")


def assert_withheld(lab: Lab, cause: str, fate: Fate) -> None:
    """Exactly the metadata above `cause` stay away from S3, each with that reason; the sound array is whole there."""
    above = [str(path) for path in Path(cause).parents]
    names = [path for path in plate(lab).rglob("*") if path.name in METADATA]
    withheld = [name_of(lab, path) for path in names if str(Path(name_of(lab, path)).parent) in above]
    assert {str(Path(name).parent) for name in withheld} >= {NAME, f"{NAME}/cells", f"{NAME}/{DAMAGED}"}
    reason = Fate(FAILED, f"withheld: {cause} did not arrive")
    assert_books(lab, {cause: fate, **dict.fromkeys(withheld, reason)})
    keys = remote_keys(plain_client(lab.env), lab.bucket, f"{PREFIX}/{NAME}/{SOUND}/")
    assert any(is_metadata(key) for key in keys)
    line = error_line(lab)
    assert f"error: {len(withheld) + (fate.outcome == FAILED)} file(s) failed: " in line
    assert "withheld: " in line
    assert "mend them, then `bulkhaul retry`" in line


@FORMATS
def test_a_chunk_that_vanishes_withholds_the_metadata_above_it_until_it_is_back(
    lab: Lab, front: StubS3, tmp_path: Path, zarr_format: Literal[2, 3]
) -> None:
    folder = begin(lab, zarr_format)
    late = chunk(folder)
    content = late.read_bytes()
    held = Turnstile(front, "PutObject", fits=lambda request: f"/{DAMAGED}/" in request.key)
    with worker_held(lab, held, env=front_env(front), expect=3):
        time.sleep(1.0)  # the plan of a few hundred files takes milliseconds
        late.unlink()
    assert_withheld(lab, name_of(lab, late), Fate(FAILED, "vanished while it was read"))

    late.write_bytes(content)
    retry(lab)
    front.script.clear()
    withheld = [name for name, record in manifest(lab).items() if record.get("reason", "").startswith("withheld")]
    reader = Reader(front, lab)
    assert transfer(lab, env=front_env(front))["files_sent"] == 1 + len(withheld)
    assert reader.too_early == []
    assert sorted(reader.order) == sorted(withheld)
    assert_books(lab, {})
    assert_equal_in_s3(lab, tmp_path / "copy")


def assert_refusal_withholds(lab: Lab, odd: Path) -> None:
    """The same for a chunk that is refused after its array had been withheld for another reason."""
    records = manifest(lab)
    assert records[name_of(lab, odd)]["reason"] == "refused: the name has a backslash"
    withheld = [name for name, record in records.items() if record.get("reason", "").startswith("withheld")]
    assert sorted({str(Path(name).parent) for name in withheld}) == [NAME, f"{NAME}/cells", f"{NAME}/{DAMAGED}"]
    keys = remote_keys(plain_client(lab.env), lab.bucket, f"{PREFIX}/")
    assert not [name for name in withheld if f"{PREFIX}/{name}" in keys]


@FORMATS
def test_a_chunk_that_is_left_out_or_refused_withholds_too(
    lab: Lab, tmp_path: Path, zarr_format: Literal[2, 3]
) -> None:
    folder = begin(lab, zarr_format)
    link = chunk(folder)
    link.rename(folder.parent / "elsewhere")
    link.symlink_to(folder.parent / "elsewhere")
    transfer(lab, expect=3)
    assert_withheld(lab, name_of(lab, link), Fate(SKIPPED, "symlink"))

    link.unlink()
    (folder.parent / "elsewhere").rename(link)
    odd = link.with_name("back\\slash")
    odd.write_bytes(b"?")
    retry(lab)
    transfer(lab, expect=3)
    assert_refusal_withholds(lab, odd)

    odd.unlink()
    retry(lab)
    transfer(lab)
    assert_equal_in_s3(lab, tmp_path / "copy")


@pytest.mark.parametrize("what", ["chunk", "folder of chunks"])
def test_an_unreadable_chunk_withholds_too(poor_lab: PoorLab, tmp_path: Path, what: str) -> None:
    folder = begin(poor_lab, 3)
    path = chunk(folder)
    path = path if what == "chunk" else path.parent
    poor_lab.hand_over()
    mode = path.stat().st_mode
    path.chmod(0)
    transfer(poor_lab, expect=3)
    if what == "chunk":
        assert_withheld(poor_lab, name_of(poor_lab, path), Fate(FAILED, "no right to read"))
    else:
        record = manifest(poor_lab)[f"{name_of(poor_lab, path)}/"]
        assert record["reason"] == "unreadable: Permission denied"
        assert manifest(poor_lab)[f"{NAME}/zarr.json"]["reason"] == f"withheld: {record['name']} did not arrive"
    path.chmod(mode)
    retry(poor_lab)
    poor_lab.hand_over()
    transfer(poor_lab)
    assert_books(poor_lab, {})
    assert_equal_in_s3(poor_lab, tmp_path / "copy")


def test_old_metadata_over_missing_chunks_are_told_and_nothing_is_deleted(
    lab: Lab, front: StubS3, tmp_path: Path
) -> None:
    folder = begin(lab, 2)
    client = plain_client(lab.env)
    described = [path for path in folder.rglob("*") if path.name in METADATA]
    for path in described:
        client.put_object(Bucket=lab.bucket, Key=f"{PREFIX}/{name_of(lab, path)}", Body=path.read_bytes())
    client.put_object(Bucket=lab.bucket, Key=f"{PREFIX}/{NAME}/old/c/0", Body=b"foreign")
    transfer(lab, env=front_env(front))
    said = [line for line in job_text(lab).splitlines() if "stood in S3 over missing files" in line]
    assert len(said) == 1
    assert f"{NAME}/" in said[0]
    deleted = [entry.key for entry in front.log.entries if entry.operation.startswith("Delete")]
    assert [key for key in deleted if not is_probe(key)] == []
    assert client.get_object(Bucket=lab.bucket, Key=f"{PREFIX}/{NAME}/old/c/0")["Body"].read() == b"foreign"
    records = manifest(lab)
    for path in described:
        stood = f"same content; stood over missing files, the first '{name_of(lab, path.parent)}/"
        assert records[name_of(lab, path)]["reason"].startswith(stood)
    client.delete_object(Bucket=lab.bucket, Key=f"{PREFIX}/{NAME}/old/c/0")
    assert_books(lab, {})
    assert_equal_in_s3(lab, tmp_path / "copy")


def test_old_metadata_over_a_chunk_that_cannot_be_sent_are_told_and_the_job_fails(lab: Lab) -> None:
    folder = begin(lab, 3)
    client = plain_client(lab.env)
    top = folder / DAMAGED / "zarr.json"
    client.put_object(Bucket=lab.bucket, Key=f"{PREFIX}/{name_of(lab, top)}", Body=top.read_bytes())
    for path in (folder / DAMAGED).rglob("*"):
        if path.is_file() and path.name not in METADATA:
            client.put_object(Bucket=lab.bucket, Key=f"{PREFIX}/{name_of(lab, path)}", Body=path.read_bytes())
    link = chunk(folder)
    client.delete_object(Bucket=lab.bucket, Key=f"{PREFIX}/{name_of(lab, link)}")
    link.unlink()
    link.symlink_to("/etc/hostname")
    transfer(lab, expect=3)
    assert "stood in S3 over missing files" in job_text(lab)
    assert manifest(lab)[name_of(lab, top)]["reason"] == f"withheld: {name_of(lab, link)} did not arrive"
    assert JOB in lab.statuses()
