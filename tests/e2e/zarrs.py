"""Real Zarr arrays, a reader that looks all the time, and the judge of the copy in S3."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr

from e2e.accounts import (
    PREFIX,
    plate,
)
from e2e.lab import Lab
from e2e.oracle import plain_client, remote_keys
from e2e.turnstile import is_probe
from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3

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
