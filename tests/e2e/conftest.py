"""Fixtures of the end-to-end tests: a lab on the real S3 server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from e2e.lab import Lab, make_lab


@pytest.fixture
def lab(tmp_path: Path, bucket: str, s3_env: Mapping[str, str]) -> Iterator[Lab]:
    """A lab with its own folder and bucket on the tests' S3 server."""
    lab = make_lab(tmp_path, bucket=bucket, env=s3_env)
    yield lab
    lab.close()
