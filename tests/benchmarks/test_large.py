"""The figures of large joblists and plates, in small: they are complete, and the page shows them. No time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.running import BENCHMARKS

FILES = 1_200
MISSING = 100


@pytest.mark.slow
def test_a_killed_plate_goes_on_with_what_is_missing(compiled: None, tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    options = ["--jobs", "200", "--files", str(FILES), "--rounds", "1", "--output", str(output)]
    subprocess.run([sys.executable, BENCHMARKS / "large.py", *options], check=True, capture_output=True, timeout=100)
    summaries, resumes = json.loads(output.read_text())["tables"]
    assert [row[1] for row in summaries["rows"]] == [200, 200]
    [row] = resumes["rows"]
    found = dict(zip(resumes["columns"], row, strict=True))
    # Each listing has two pages: the plan's and the proof's; and one for the probe, its order, and the manifest.
    assert (found["files"], found["lists"]) == (FILES, 2 * 2 + 3)
    assert 0 < found["first of the missing s"] <= found["whole job s"]
    assert MISSING < found["puts"] < MISSING + 10, "the missing, the manifest, the probe's few"
