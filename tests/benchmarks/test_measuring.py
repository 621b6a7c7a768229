"""What a run is said to have used: all of its processes, each page once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from measuring import RunFailed, memory_of, run

MIB = 1 << 20
CHILD = "import sys; held = bytearray(40 << 20); print('held', flush=True); sys.stdin.read()"
PARENT = f"""
import subprocess, sys
children = [subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=-1, stdout=-1) for _ in range(2)]
for child in children:
    child.stdout.readline()
held = bytearray(40 << 20)
import time
time.sleep(0.3)  # some looks at all of them
for child in children:
    child.communicate()
"""


def test_the_memory_of_a_tree_is_that_of_all_its_processes(tmp_path: Path) -> None:
    sample = run([sys.executable, "-c", PARENT], env=os.environ, log=tmp_path / "log")
    assert 120 * MIB < sample.rss < 180 * MIB


def test_pages_of_files_count_once() -> None:
    alone = memory_of([os.getpid()])
    twice = memory_of([os.getpid(), os.getpid()])
    assert alone < twice < 2 * alone


def test_a_process_that_is_gone_has_no_memory() -> None:
    assert memory_of([2**22 + 1]) == memory_of([]) == 0


def test_a_program_that_fails_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="ended with 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"], env=os.environ, log=tmp_path / "log")
