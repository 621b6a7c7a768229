from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from bulkhaul.errors import SourceError
from bulkhaul.sources.tree import Entry, LeftOut, LocalFile, order_key, read_path, walk
from sources.trees import TREES, build, ends
from unprivileged import reachable_folder, run_unprivileged


def remove_deep(folder: Path) -> None:
    subprocess.run(["rm", "-rf", folder], check=True)  # pytest's own clean-up recurses


def by_name(dataset: Path) -> dict[str, Entry]:
    return {entry.name: entry for entry in walk(dataset)}


@settings(max_examples=60)
@given(TREES)
def test_walk_gives_every_file_and_empty_folder_in_the_byte_order_of_full_names(tree):
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), tree)

        walked = [order_key(entry) for entry in walk(Path(folder))]

    assert walked == sorted(ends(b"", tree))


def test_a_folder_sorts_as_its_name_with_a_slash(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/x", "a b", "a-b", "a.b", "a0", "ab"):
        (tmp_path / name).touch()

    assert [entry.name for entry in walk(tmp_path)] == ["a b", "a-b", "a.b", "a/x", "a0", "ab"]


def test_a_file_carries_what_identifies_its_version(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    seen = path.stat()

    assert list(walk(tmp_path)) == [LocalFile("f", 5, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)]


@pytest.mark.parametrize(
    "name",
    [
        b"n" * 255,
        b"two\nlines",
        b" blank ",
        b"'quotes\"",
        b"back\\slash",
        b"bell\x07",
        b"not-utf8-\xff\xfe",
        "größe".encode(),
        b"*",
    ],
)
def test_any_name_the_file_system_takes_is_walked_and_leads_back_to_its_file(tmp_path, name):
    (tmp_path / os.fsdecode(name)).write_bytes(b"content")

    (entry,) = walk(tmp_path)

    assert isinstance(entry, LocalFile)
    assert os.fsencode(entry.name) == name
    assert Path(read_path(tmp_path, entry.name)).read_bytes() == b"content"


def test_links_and_special_files_are_skipped_with_the_reason(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").touch()
    (tmp_path / "to-file").symlink_to("file")
    (tmp_path / "to-folder").symlink_to("folder")
    (tmp_path / "broken").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder" / "up").symlink_to("..")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))

        found = by_name(tmp_path)

    links = ("to-file", "to-folder", "broken", "loop", "folder/up")
    assert {name: found.pop(name) for name in links} == {name: LeftOut(name, "symlink", failed=False) for name in links}
    assert found.pop("fifo") == LeftOut("fifo", "FIFO", failed=False)
    assert found.pop("socket") == LeftOut("socket", "socket", failed=False)
    assert sorted(found) == ["file", "folder/inner"]


def test_an_empty_folder_is_told_and_an_empty_file_is_sent(tmp_path):
    (tmp_path / "x" / "empty").mkdir(parents=True)
    (tmp_path / "x" / "file").touch()

    empty, file = walk(tmp_path)

    assert empty == LeftOut("x/empty", "empty folder", failed=False, folder=True)
    assert isinstance(file, LocalFile)
    assert file.size == 0


def test_an_empty_dataset_yields_nothing(tmp_path):
    assert list(walk(tmp_path)) == []


def test_a_sparse_file_has_its_apparent_size(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(6 << 30)

    (entry,) = walk(tmp_path)

    assert isinstance(entry, LocalFile)
    assert entry.size == 6 << 30


def test_a_dataset_that_is_itself_a_link_is_walked(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").touch()
    (tmp_path / "link").symlink_to("real")

    assert [entry.name for entry in walk(tmp_path / "link")] == ["f"]


@pytest.mark.parametrize("name", ["missing", "file", "loop"])
def test_a_dataset_that_is_no_folder_is_a_source_error_that_names_it(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(SourceError, match=name):
        next(walk(tmp_path / name))


def test_a_folder_that_vanishes_on_the_way_is_a_failed_entry_and_the_walk_goes_on(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").touch()
    entries = walk(tmp_path)
    assert next(entries).name == "a/f"

    shutil.rmtree(tmp_path / "b")

    gone, last = entries
    assert gone == LeftOut("b", "vanished while the folder was read", failed=True, folder=True)
    assert last.name == "c/f"


def test_a_file_that_vanishes_or_turns_into_a_folder_on_the_way_is_a_failed_entry(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    entries = walk(tmp_path)
    assert next(entries).name == "a"

    (tmp_path / "b").unlink()
    (tmp_path / "c").unlink()
    (tmp_path / "c").mkdir()

    assert list(entries) == [
        LeftOut("b", "vanished while the folder was read", failed=True),
        LeftOut("c", "changed while the folder was read", failed=True),
    ]


def test_nesting_beyond_the_recursion_limit_is_walked(tmp_path):
    nested = "/".join(["d"] * (sys.getrecursionlimit() + 100))
    subprocess.run(["mkdir", "-p", tmp_path / nested], check=True)
    (tmp_path / nested / "f").touch()

    names = [entry.name for entry in walk(tmp_path)]

    remove_deep(tmp_path / "d")
    assert names == [f"{nested}/f"]


def test_a_path_too_long_for_the_system_is_a_failed_entry_and_the_walk_goes_on(tmp_path):
    (tmp_path / "z").touch()
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # 20 x 255 bytes: over PATH_MAX, so only folder by folder
        os.mkdir("n" * 255, dir_fd=here)
        deeper = os.open("n" * 255, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)

    cut, last = walk(tmp_path)

    remove_deep(tmp_path / ("n" * 255))
    assert isinstance(cut, LeftOut)
    assert (cut.failed, cut.folder, cut.reason) == (True, True, "unreadable: File name too long")
    assert last.name == "z"


_WALK = """
import sys
from pathlib import Path
from bulkhaul.sources.tree import walk
print(*walk(Path(sys.argv[1])), sep="\\n")
"""


def test_an_unreadable_folder_is_a_failed_entry_and_the_walk_goes_on():
    with reachable_folder() as folder:
        for name, mode in (("closed", 0o000), ("listed-only", 0o444)):
            (folder / name).mkdir()
            (folder / name / "f").touch()
            (folder / name).chmod(mode)
        (folder / "z").touch()

        lines = run_unprivileged(_WALK, folder).stdout.splitlines()

    reason = "unreadable: Permission denied"
    assert lines[:2] == [
        str(LeftOut("closed", reason, failed=True, folder=True)),
        str(LeftOut("listed-only/f", reason, failed=True)),
    ]
    assert "name='z'" in lines[2]


def test_an_unreadable_dataset_is_a_source_error():
    with reachable_folder() as folder:
        (folder / "closed").mkdir(mode=0)

        done = run_unprivileged(_WALK, folder / "closed")

    assert "SourceError" in done.stderr
    assert "closed: the dataset cannot be read: Permission denied" in done.stderr


def outside_of(dataset: Path) -> Path:
    """A folder beside the dataset with a file that must stay unseen."""
    outside = dataset.parent / "outside"
    (outside / "deeper").mkdir(parents=True)
    (outside / "secret").write_text("of somebody else")
    (outside / "deeper" / "secret").write_text("of somebody else")
    return outside


@pytest.mark.parametrize("swapped", ["b", "b/c"])
def test_a_folder_swapped_for_a_link_while_the_walk_goes_on_is_not_followed(tmp_path: Path, swapped: str) -> None:
    dataset = tmp_path / "dataset"
    for name in ("a/1", "b/1", "b/c/secret", "b/deeper/secret"):
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).write_text("ours")
    entries = walk(dataset)
    found = [next(entries)]
    assert found[0].name == "a/1"
    if swapped == "b/c":
        found.append(next(entries))
    (dataset / swapped).rename(tmp_path / "away")
    (dataset / swapped).symlink_to(outside_of(dataset))
    found += entries
    assert [entry.name for entry in found if not isinstance(entry, LeftOut)] == {
        "b": ["a/1"],
        "b/c": ["a/1", "b/1", "b/deeper/secret"],
    }[swapped]
    (odd,) = (entry for entry in found if isinstance(entry, LeftOut))
    assert (odd.name, odd.failed, odd.folder) == (swapped, True, True)
    assert odd.reason == "unreadable: lies behind a symlink, or was moved"


def test_a_dataset_that_is_named_through_a_link_is_walked_in_its_real_place(tmp_path: Path) -> None:
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "real" / "sub" / "file").write_text("x")
    (tmp_path / "link").symlink_to("real")
    assert [entry.name for entry in walk(tmp_path / "link")] == ["sub/file"]
