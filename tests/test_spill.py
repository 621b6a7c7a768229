"""Lines are sorted by their key, whether they fit into memory or not, and lines of one key keep their order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.spill import sorted_lines

LINES = st.lists(st.text("ab\0~", min_size=1, max_size=3).map(str.encode), max_size=40)


@given(lines=LINES, run_lines=st.integers(1, 50))
def test_runs_on_disk_give_what_one_sort_gives(
    lines: list[bytes], run_lines: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()

    assert list(sorted_lines(lines, folder=folder, run_lines=run_lines)) == sorted(lines)
    by_first = sorted_lines(lines, folder=folder, key=lambda line: line[:1], run_lines=run_lines)
    assert list(by_first) == sorted(lines, key=lambda line: line[:1])


def test_of_one_key_the_last_line_comes_last_across_runs(tmp_path: Path) -> None:
    lines = [b"b1", b"a1", b"b2", b"c1", b"b3"]

    found = sorted_lines(lines, folder=tmp_path, key=lambda line: line[:1], run_lines=2)
    assert list(found) == [b"a1", b"b1", b"b2", b"b3", b"c1"]
    assert list(tmp_path.iterdir()) == []
