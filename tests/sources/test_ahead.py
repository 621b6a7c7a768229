"""Looking ahead by itself, over folders that exist only as names: bounds, faults and ends."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from bulkhaul.sources.ahead import Ahead, Folder

_MOST_FOLDERS, _MOST_NAMES, _MOST_EXAMINED = 1024, 65_536, 8192
_RUN = 16


class Tree:
    """Folders with some files each below one; it notes what was listed and examined, and by which threads."""

    def __init__(self, *files: int, pause: float = 0.0) -> None:
        self.files = {b"%06d/" % number: count for number, count in enumerate(files)}
        self.listed: list[tuple[bytes, bool]] = []
        self.examined: list[bytes] = []
        self.refused = 0
        self.enough = False
        self.fault: Callable[[bytes], None] = lambda name: None
        self.stack = [Folder[bytes](b"/t/", b"", sorted(self.files, reverse=True))]
        self._pause = pause
        self._walker = threading.current_thread()

    def entries(self) -> Iterator[bytes]:
        return Ahead(
            self.stack, list_folder=self.list_folder, examine=self.examine, enough=lambda: self.enough
        ).entries()

    def expected(self) -> list[bytes]:
        return [folder + name for folder, count in self.files.items() for name in self._names(count)]

    def list_folder(self, folder: Folder[bytes], room: Callable[[int], None]) -> list[bytes] | bytes:
        time.sleep(self._pause)
        count = self.files[folder.prefix]
        for read in range(256, count + 256, 256):
            try:
                room(min(read, count))
            except BaseException:
                self.refused += 1
                raise
        self.listed.append((folder.prefix, self.by_walker()))
        return self._names(count)[::-1] or folder.prefix

    def examine(self, folder: Folder[bytes], names: list[bytes]) -> list[bytes]:
        time.sleep(self._pause)
        for name in names:
            self.fault(folder.prefix + name)
        self.examined += names
        return [folder.prefix + name for name in names]

    def by_walker(self) -> bool:
        return threading.current_thread() is self._walker

    def names_listed(self) -> int:
        return sum(self.files[folder] for folder, _ in self.listed)

    def settle(self) -> None:
        """Wait until the threads have gone as far as they may."""
        before = None
        while before != (before := (len(self.listed), len(self.examined))):
            time.sleep(0.2)

    @staticmethod
    def _names(count: int) -> list[bytes]:
        return [b"%06d" % number for number in range(count)]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead-")]


def test_entries_come_in_order_and_most_of_the_work_is_done_by_threads():
    tree = Tree(*[30] * 100, pause=0.001)

    assert list(tree.entries()) == tree.expected()

    assert len(tree.examined) == 3000
    assert sum(not walker for _, walker in tree.listed) > 50
    assert threads() == []


@pytest.mark.parametrize(
    ("files", "listed", "names", "examined"),
    [
        pytest.param([1] * 3000, _MOST_FOLDERS, _MOST_NAMES, _MOST_EXAMINED, id="many folders"),
        pytest.param([3000] * 100, _MOST_FOLDERS, _MOST_NAMES, _MOST_EXAMINED, id="many names"),
        pytest.param([40_000], 0, 0, _MOST_EXAMINED, id="many files in one folder"),
    ],
)
def test_what_lies_ahead_of_a_reader_that_does_not_read_on_is_bounded(files, listed, names, examined):
    tree = Tree(*files)
    with closing(tree.entries()) as entries:
        next(entries)
        tree.settle()

        on_the_path = 1
        assert len(tree.listed) <= listed + on_the_path
        assert tree.names_listed() <= names + files[0]
        assert len(tree.examined) <= examined + _RUN
        assert len(tree.listed) >= listed / 2 or tree.names_listed() >= names / 2 or len(tree.examined) >= examined / 2

        assert [*itertools.islice(entries, 5000)] == tree.expected()[1:5001]


def test_a_folder_too_large_to_be_listed_ahead_is_listed_by_the_walk():
    tree = Tree(*[10] * 20, 100_000, *[10] * 20)

    assert list(tree.entries()) == tree.expected()

    assert (b"000020/", True) in tree.listed
    assert len(tree.listed) == 41


def test_closing_the_walk_ends_the_threads():
    tree = Tree(*[30] * 100, pause=0.001)
    entries = tree.entries()
    next(entries)
    assert threads()

    entries.close()

    assert threads() == []


def test_a_fault_of_a_thread_alone_costs_nothing_but_its_work():
    tree = Tree(*[30] * 100, pause=0.001)

    def refuse_to_threads(name: bytes) -> None:
        if not tree.by_walker():
            raise MemoryError

    tree.fault = refuse_to_threads

    assert list(tree.entries()) == tree.expected()


def test_a_fault_meets_the_walk_where_it_belongs():
    tree = Tree(*[30] * 100, pause=0.001)

    def refuse(name: bytes) -> None:
        if name == b"000050/000016":
            raise MemoryError

    tree.fault = refuse
    found = []

    with pytest.raises(MemoryError):
        found.extend(entry for entry in tree.entries() if found.append(entry))

    assert found == tree.expected()[: 50 * 30 + 16]
    assert threads() == []


def test_when_it_is_enough_the_walk_goes_on_without_threads_from_where_it_stands():
    tree = Tree(*[30] * 1_000, pause=0.001)  # more than may be held ahead
    entries = tree.entries()
    found = [*itertools.islice(entries, 500)]

    tree.enough = True
    found += entries

    assert threads() == []
    assert 500 < len(found) < 30_000
    tree.enough = False
    assert [*found, *tree.entries()] == tree.expected()
