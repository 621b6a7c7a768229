"""The walk of a folder whose file system is slow, and of one that is not: the same entries, other threads."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhaul.sources.tree import LeftOut, order_key
from servers.preloaded import built
from servers.slow_files import Calls, SlowFiles
from sources.trees import TREES, build
from sources.walker import Walker, walker
from unprivileged import reachable_folder

ROUND_TRIP = 0.001
_TELLING = 16  # files whose answers tell that the file system is slow


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def library(place: Path) -> Path:
    return built("slow_files", place)


@pytest.fixture(scope="module")
def trees(place: Path) -> Path:
    (place / "trees").mkdir()
    return place / "trees"


@pytest.fixture(scope="module")
def slow(place: Path, library: Path, trees: Path) -> Iterator[Walker]:
    files = SlowFiles(library, trees, round_trip=ROUND_TRIP, counts=place / "counts")
    with walker(files.environment) as process:
        yield process


@pytest.fixture(scope="module")
def quick() -> Iterator[Walker]:
    with walker({}) as process:
        yield process


def telling(dataset: Path) -> None:
    """Files that a walk meets first."""
    (dataset / "\x01").mkdir(parents=True)
    for number in range(_TELLING):
        (dataset / "\x01" / f"{number:02}").touch()


def spoil(files: list[Path], folders: list[Path], kinds: list[str], modes: list[int]) -> None:
    for path, kind in zip(files, kinds, strict=False):
        if kind != "file":
            path.unlink()
            os.mkfifo(path) if kind == "FIFO" else path.symlink_to("..")
    for path, mode in zip(folders, modes, strict=False):
        path.chmod(mode)


@pytest.mark.slow
@settings(max_examples=60)
@given(
    TREES,
    st.lists(st.sampled_from(["file", "FIFO", "link"])),
    st.lists(st.sampled_from([0o755, 0o755, 0o000, 0o444])),
)
def test_a_walk_that_looks_ahead_gives_what_one_that_does_not_gives(slow, quick, trees, tree, kinds, modes):
    with tempfile.TemporaryDirectory(dir=trees) as folder:
        dataset = Path(folder)
        dataset.chmod(0o755)
        telling(dataset)
        (dataset / "tree").mkdir()
        build(dataset / "tree", tree)
        inner = sorted((dataset / "tree").rglob("*"))
        folders = [path for path in inner if path.is_dir()]
        spoil([path for path in inner if path.is_file()], folders, kinds, modes)

        expected, found = quick.walk(dataset), slow.walk(dataset)

        for path in folders:
            path.chmod(0o755)
    assert found.entries == expected.entries
    assert (expected.threads, found.threads_left) == (0, 0)
    assert not tree or found.threads > 0


def wide(dataset: Path, *, folders: int, files: int) -> None:
    for number in range(folders):
        (dataset / f"{number % 7}" / f"{number}").mkdir(parents=True)
        for name in range(files):
            (dataset / f"{number % 7}" / f"{number}" / f"{name}").touch()


def test_a_wide_tree_of_a_slow_file_system_is_walked_many_times_faster_than_call_by_call(slow, quick, trees):
    wide(trees / "wide", folders=100, files=20)

    begun = time.monotonic()
    found = slow.walk(trees / "wide")
    seconds = time.monotonic() - begun

    assert found.entries == quick.walk(trees / "wide").entries
    assert len(found.entries) == 2000
    call_by_call = (2000 + 2 * 108) * ROUND_TRIP
    assert seconds < call_by_call / 4


@pytest.mark.slow
def test_what_vanishes_while_threads_look_ahead_is_a_failed_entry_or_was_seen_before(place, library, trees):
    dataset = trees / "vanishing"
    telling(dataset)
    wide(dataset, folders=400, files=4)
    folders = sorted(path for path in dataset.glob("*/*") if path.is_dir())
    gone = folders[::3]
    files = SlowFiles(library, dataset, round_trip=0.01, counts=place / "counts")

    with walker(files.environment) as process:
        process.begin(dataset)
        for path in reversed(gone):  # from the other end, in as much time: they meet in the middle
            shutil.rmtree(path)
            time.sleep(0.005)
        found = process.end().entries

    keys = [order_key(entry) for entry in found]
    assert keys == sorted(keys)
    inside = {folder: {entry.name for entry in found if (dataset / entry.name).parent == folder} for folder in folders}
    assert all(len(inside[folder]) == 4 for folder in folders if folder not in gone)
    odd = [entry for entry in found if isinstance(entry, LeftOut)]
    assert any(entry.failed for entry in odd)
    for entry in odd:
        assert (dataset / entry.name) in gone or (dataset / entry.name).parent in gone
        # Empty: between the removal of its files and its own.
        assert entry.reason in {"vanished while the folder was read", "empty folder"}


def test_on_a_quick_disk_each_folder_and_each_file_costs_one_call_and_no_thread(place, library, trees):
    dataset = trees / "quick"
    wide(dataset, folders=50, files=40)
    (dataset / "empty").mkdir()
    (dataset / "link").symlink_to("empty")
    files = SlowFiles(library, dataset, round_trip=0, counts=place / "quick-counts")

    with walker(files.environment) as process:
        found = process.walk(dataset).entries

    assert len(found) == 2002
    listings, stats = 1 + 7 + 50 + 1, 1 + 2001  # the dataset's own real path is one of them
    assert files.calls() == [Calls(opens=0, listings=listings, stats=stats, reads=0, threads=0, most_at_once=1)]


def test_a_slow_file_system_is_asked_for_nothing_twice(place, library, trees):
    dataset = trees / "once"
    wide(dataset, folders=50, files=40)
    files = SlowFiles(library, dataset, round_trip=ROUND_TRIP, counts=place / "once-counts")

    with walker(files.environment) as process:
        process.walk(dataset)

    (calls,) = files.calls()
    assert (calls.listings, calls.stats) == (1 + 7 + 50, 1 + 2000)
    assert 16 <= calls.most_at_once <= 33


def test_where_no_thread_can_be_started_the_walk_goes_on_alone(place, library, quick, trees):
    dataset = trees / "alone"
    wide(dataset, folders=10, files=10)
    files = SlowFiles(library, dataset, round_trip=ROUND_TRIP, counts=place / "alone-counts")

    with walker(files.environment, alone=True) as process:
        found = process.walk(dataset)

    assert found.entries == quick.walk(dataset).entries
    assert found.threads == 0
    (calls,) = files.calls()
    assert calls.threads > 0  # tried, and refused
