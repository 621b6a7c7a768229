"""A transfer rig on an S3 in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer.rig import MemoryEngine, Rig, connection_of


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
def rig(tmp_path: Path, engine: MemoryEngine) -> Rig:
    made = Rig(tmp_path, connection_of(engine))
    made.source.mkdir()
    return made
