"""Engines and clients of the real server and of the stub, a large file with a journal, a program that prints keys."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from s3.engines import ENGINES, MakeEngine
from s3.large import PART, FileJournal, make_file
from s3.reach import client_for_stub
from servers.stub_s3 import StubS3


@pytest.fixture
def stub_client(stub: StubS3) -> Any:
    """A client of the stub with enough connections for parts at once."""
    return client_for_stub(stub, max_connections=8)


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    """An empty journal."""
    return FileJournal(tmp_path / "journal.json")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four parts, the last one short."""
    return make_file(tmp_path / "large.bin", 3 * PART + 12_345)


@pytest.fixture(params=sorted(ENGINES))
def make(request: pytest.FixtureRequest) -> MakeEngine:
    """Each engine in turn."""
    return ENGINES[request.param]


@pytest.fixture
def printer(tmp_path: Path) -> Path:
    """A program that prints new keys of an hour at each call."""
    path = tmp_path / "print-keys"
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os\n"
        "from datetime import UTC, datetime, timedelta\n"
        "end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'KEY{os.getpid()}', 'SecretAccessKey': 's',"
        " 'SessionToken': 't', 'Expiration': end}))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
