"""Fixtures of the end-to-end tests: labs on the real S3 server, and a front of that server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from e2e.lab import ENGINES, Lab, make_lab
from e2e.poor_lab import PoorLab, poor_lab_on
from servers.seaweed import ADMIN, Seaweed
from servers.stub_s3 import Front, StubS3


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a lab once with each engine."""
    chosen = any("engine" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize"))
    if "engine" in metafunc.fixturenames and not chosen:
        metafunc.parametrize("engine", ENGINES)


@pytest.fixture
def lab(tmp_path: Path, bucket: str, s3_env: Mapping[str, str], engine: str) -> Iterator[Lab]:
    """A lab with its own folder and bucket on the tests' S3 server, whose scripts use `engine`."""
    lab = make_lab(tmp_path, bucket=bucket, env={**s3_env, "BULKHAUL_ENGINE": engine})
    yield lab
    lab.close()


@pytest.fixture
def poor_lab(bucket: str, s3_env: Mapping[str, str], engine: str) -> Iterator[PoorLab]:
    """The same for a user without rights: root reads and writes everything."""
    with poor_lab_on(bucket, {**s3_env, "BULKHAUL_ENGINE": engine}) as lab:
        yield lab


@pytest.fixture
def front(s3_server: Seaweed) -> Iterator[StubS3]:
    """The real S3 server behind our own stub: tokens that end, denials, requests that are held back and counted."""
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as front:
        yield front
