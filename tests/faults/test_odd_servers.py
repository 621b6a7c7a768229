"""Servers that are odd: each works in a mode that proves what arrived, or is refused in one line, or fails that file.

Real workers send a small plate with Zarr metadata and one file in parts; the oracle downloads all of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.bad_input import TRANSFER, all_refused, complaints, records
from e2e.lab import CHECKOUT, Lab, make_lab, plate_folder, write_plate
from e2e.large import IN_PARTS, PART
from e2e.oracle import assert_plates_arrived
from e2e.turnstile import front_env, is_probe
from faults.odd_cases import BOTH, JOB, LARGE, ODD_NAME, PLATE, SERVERS, STUBS, Fails, Fate, Refused, Works, rows
from servers.moto import MotoServer
from servers.old_seaweed import old_seaweed
from servers.seaweed import ADMIN, Seaweed, plain_client
from servers.stub import script
from servers.stub.odd import meets
from servers.stub_s3 import Front, StubS3


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with the plate and its job; nobody works there, each case takes a copy of the joblist."""
    lab = make_lab(tmp_path_factory.mktemp("odd"), bucket="bucket", env={})
    folder = plate_folder(lab.results, batch="J1", plate=PLATE)
    write_plate(folder, chunks=5, seed=5, large=PART + 1)
    (folder / ODD_NAME).write_text("odd")
    lab.extract()
    yield lab
    lab.close()


def lab_at(folder: Path, results: Lab, env: dict[str, str], engine: str) -> Lab:
    """The same lab before a server."""
    lab = make_lab(folder, bucket="bucket", env={**env, **IN_PARTS, "BULKHAUL_ENGINE": engine})
    lab.results.symlink_to(results.results)
    shutil.copytree(results.joblist, lab.joblist)
    return lab


def warnings(said: str) -> list[str]:
    """What the worker says of the server."""
    return [line.removeprefix("❗ bucket: ") for line in said.splitlines() if line.startswith("❗ bucket: ")]


def assert_fate(lab: Lab, fate: Fate) -> None:
    """A worker there meets its fate, and tells it."""
    try:
        match fate:
            case Works():
                assert warnings(lab.transfer()) == list(fate.warnings)
                assert lab.statuses() == {JOB: "success"}
                assert_plates_arrived(lab, PLATE)
            case Refused():
                (line,) = all_refused([(lab, (TRANSFER,))], expect=fate.code, env={})
                assert [word for word in fate.words if word not in line] == []
                assert records(lab.joblist) == []
            case Fails():
                said = lab.transfer(expect=3)
                assert warnings(said) == list(fate.warnings)
                (line,) = [line for line in complaints(said) if line.startswith(JOB)]
                assert fate.name in line
                assert fate.reason in line
                assert lab.statuses() == {JOB: "error"}
    finally:
        lab.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "engine"), [(name, engine) for name, case in STUBS.items() for engine in case.engines]
)
def test_a_stub(tmp_path: Path, results: Lab, stub: StubS3, name: str, engine: str) -> None:
    case = STUBS[name]
    case.oddity(stub)
    assert_fate(lab_at(tmp_path, results, front_env(stub), engine), case.fate)
    # Nothing but the probe asks for a condition, which a server may ignore.
    asked = [one for one in stub.log.entries if {"if-none-match", "if-match"} & one.headers.keys()]
    assert [one.key for one in asked if not is_probe(one.key)] == []


def test_the_page_tells_what_is_tried() -> None:
    page = (CHECKOUT / "docs" / "operations.md").read_text().splitlines()
    section = page[page.index("## Servers that are not S3") :]
    table = [line for line in section[: section.index("## Credentials")] if line.startswith("| ")]
    heads = ("| --- ", "| says ", "| server ")
    assert [line for line in table if not line.startswith(heads)] == rows()


@pytest.mark.slow
@pytest.mark.parametrize("engine", BOTH)
def test_seaweedfs(tmp_path: Path, results: Lab, s3_server: Seaweed, engine: str) -> None:
    server = s3_server
    client = server.client()
    client.create_bucket(Bucket="bucket")
    try:
        assert_fate(lab_at(tmp_path, results, dict(server.environment(ADMIN)), engine), SERVERS["SeaweedFS 4.48"])
    finally:
        client.delete_bucket(Bucket="bucket")


@pytest.fixture(scope="module")
def old_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with old_seaweed(tmp_path_factory.mktemp("old")) as server:
        yield server


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.parametrize("engine", BOTH)
def test_seaweedfs_4_34_also_where_the_answer_of_complete_is_lost(
    tmp_path: Path, results: Lab, old_server: Seaweed, engine: str
) -> None:
    client = old_server.client()
    client.create_bucket(Bucket="bucket")
    with StubS3(front=Front(old_server.url, ADMIN.access_key, ADMIN.secret_key)) as front:
        meets("CompleteMultipartUpload", script.lose_answer(), times=1, name=LARGE)(front)
        assert_fate(lab_at(tmp_path, results, front_env(front), engine), SERVERS["SeaweedFS 4.34"])
        assert front.log.statuses("CompleteMultipartUpload").count(0) == 1
    client.delete_bucket(Bucket="bucket")


@pytest.mark.slow
@pytest.mark.parametrize("engine", BOTH)
def test_moto(tmp_path: Path, results: Lab, moto_server: MotoServer, engine: str) -> None:
    client = plain_client(moto_server.url, ADMIN.access_key, ADMIN.secret_key)
    client.create_bucket(Bucket="bucket")
    env = ADMIN.environment(moto_server.url)
    assert_fate(lab_at(tmp_path, results, env, engine), SERVERS["moto 5"])
    for one in client.list_objects_v2(Bucket="bucket")["Contents"]:
        client.delete_object(Bucket="bucket", Key=one["Key"])
