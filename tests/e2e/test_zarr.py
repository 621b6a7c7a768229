"""Real Zarr arrays: readers take a missing chunk for fill value, so no reader may ever see metadata above one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from e2e.accounts import (
    PREFIX,
    assert_books,
    transfer,
)
from e2e.lab import Lab
from e2e.oracle import plain_client, remote_keys
from e2e.turnstile import Turnstile, front_env, is_probe
from e2e.zarrs import (
    FORMATS,
    METADATA,
    NAME,
    Reader,
    assert_equal_in_s3,
    begin,
    is_metadata,
    name_of,
)
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3


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
