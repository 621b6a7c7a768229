"""The benchmarks' servers, compiled once, and a sink with a bucket for each test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from benchmarks.running import SERVERS, Program
from servers.required import missing


@pytest.fixture(scope="session")
def compiled() -> None:
    """`sink`, `delay` and `load` stand in their folder; two processes of tests may make them at once."""
    if shutil.which("cc") is None:
        missing("cc", "apt-get install gcc libc6-dev")
    subprocess.run(["make", "-s", "-C", str(SERVERS), "all", "load"], check=True)


@pytest.fixture
def sink(compiled: None) -> Iterator[Program]:
    """The null sink; a client of it makes the bucket `bucket`."""
    with Program("sink") as server:
        yield server


@pytest.fixture
def far(sink: Program) -> Iterator[Program]:
    """The proxy in front of the sink that adds a round trip of 40 ms."""
    with Program("delay", f"127.0.0.1:{sink.port}", "40") as proxy:
        yield proxy
