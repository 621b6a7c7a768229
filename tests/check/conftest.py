"""A joblist to check, and a stub with its bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkhaul.joblist.joblist import Joblist
from check.checking import BUCKET
from servers.stub_s3 import StubS3


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubS3]:
    """The stub with one bucket, and this process's environment set to reach it."""
    with StubS3() as server:
        server.store.make_bucket(BUCKET)
        for name, value in server.environment(server.tokens.issue(None)).items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def joblist(tmp_path: Path) -> Joblist:
    """An empty joblist."""
    (tmp_path / "jobs").mkdir()
    return Joblist(tmp_path / "jobs")
