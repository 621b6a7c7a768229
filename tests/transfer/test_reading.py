from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhaul.errors import SourceChanged, SourceError
from bulkhaul.sources.tree import LocalFile, walk
from bulkhaul.transfer.reading import opened, read_as_planned, read_whole, slices


def write(folder: Path, body: bytes = b"content") -> Path:
    path = folder / "a"
    path.write_bytes(body)
    return path


def test_a_file_is_read_with_the_version_of_its_bytes(tmp_path: Path) -> None:
    path = write(tmp_path)
    with opened(tmp_path, "a") as (fd, file):
        assert read_whole(fd, file) == b"content"
    assert (file.name, file.size, file.mtime_ns) == ("a", 7, path.stat().st_mtime_ns)


def test_a_large_file_comes_in_slices(tmp_path: Path) -> None:
    body = os.urandom((5 << 20) + 3)
    write(tmp_path, body)
    looks = []
    with opened(tmp_path, "a") as (fd, _file):
        pieces = list(slices(fd, gate=lambda: looks.append(1)))
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) == 1 << 20
    assert len(looks) == len(pieces)


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_a_write_while_it_is_read_is_noticed(tmp_path: Path, mode: str) -> None:
    path = write(tmp_path)
    with pytest.raises(SourceChanged, match="changed while it was read"), opened(tmp_path, "a") as (fd, file):
        read_whole(fd, file)
        os.utime(path, ns=(1, 1))
        with path.open(mode) as other:
            other.write(b"more")


def test_a_file_replaced_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(SourceChanged), opened(tmp_path, "a"):
        (tmp_path / "b").write_bytes(b"content")
        (tmp_path / "b").rename(path)


@pytest.mark.parametrize("size", [3, 20])
def test_a_file_that_shrinks_or_grows_under_the_read_is_noticed(tmp_path: Path, size: int) -> None:
    path = write(tmp_path)
    with pytest.raises(SourceChanged), opened(tmp_path, "a") as (fd, file):
        os.truncate(path, size)
        read_whole(fd, file)


def test_a_vanished_file_has_its_reason(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught, opened(tmp_path, "a"):
        pass
    assert caught.value.reason == "vanished while it was read"


def test_a_link_that_took_the_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/etc/hostname")
    with pytest.raises(SourceError) as caught, opened(tmp_path, "a"):
        pass
    assert caught.value.reason == "became a symlink"


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_file_any_more_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "a") if kind == "fifo" else (tmp_path / "a").mkdir()
    with pytest.raises(SourceError, match="no regular file"), opened(tmp_path, "a"):
        pass


def planned(dataset: Path) -> LocalFile:
    (file,) = walk(dataset)
    assert isinstance(file, LocalFile)
    return file


@pytest.mark.parametrize("body", [b"", b"content", b"x" * 100_000], ids=["empty", "small", "100 kB"])
def test_a_file_that_is_what_was_planned_is_read_with_four_system_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    write(tmp_path, body)
    file = planned(tmp_path)
    calls = []
    for name in ("open", "read", "fstat", "close"):
        call = getattr(os, name)

        def counted(*arguments: object, name: str = name, call: Callable[..., object] = call) -> object:
            calls.append(name)
            return call(*arguments)

        monkeypatch.setattr(os, name, counted)
    assert read_as_planned(tmp_path, file) == body
    assert calls == ["open", "read", "fstat", "close"]


@pytest.mark.parametrize("change", ["grown", "shrunk", "touched", "replaced", "fifo"])
def test_a_file_that_is_not_what_was_planned_is_left_to_a_closer_look(tmp_path: Path, change: str) -> None:
    path = write(tmp_path)
    file = planned(tmp_path)
    found = path.stat()
    if change == "replaced":
        (tmp_path / "b").write_bytes(b"CONTENT")
        (tmp_path / "b").rename(path)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    elif change == "fifo":
        path.unlink()
        os.mkfifo(path)
    elif change == "touched":
        os.utime(path, ns=(1, 1))
    else:
        os.truncate(path, 8 if change == "grown" else 6)
    assert read_as_planned(tmp_path, file) is None


@pytest.mark.parametrize(
    ("became", "reason"),
    [
        ("nothing", "vanished while it was read"),
        ("link", "became a symlink"),
        ("folder", "is no regular file any more"),
    ],
)
def test_a_planned_file_that_is_none_any_more_has_its_reason(tmp_path: Path, became: str, reason: str) -> None:
    path = write(tmp_path)
    file = planned(tmp_path)
    path.unlink()
    if became == "link":
        path.symlink_to("/etc/hostname")
    elif became == "folder":
        path.mkdir()
    with pytest.raises(SourceError) as caught:
        read_as_planned(tmp_path, file)
    assert caught.value.reason == reason


@pytest.mark.parametrize("read", ["as planned", "anew"])
def test_a_file_behind_a_folder_that_became_a_link_is_not_read(tmp_path: Path, read: str) -> None:
    """O_NOFOLLOW guards the last name alone, and a hard link outside is even the very version that was planned."""
    (tmp_path / "dataset" / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "dataset" / "sub" / "a").write_bytes(b"content")
    (tmp_path / "outside" / "a").hardlink_to(tmp_path / "dataset" / "sub" / "a")
    file = planned(tmp_path / "dataset")
    (tmp_path / "dataset" / "sub").rename(tmp_path / "away")
    (tmp_path / "dataset" / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(SourceError) as caught:
        if read == "as planned":
            read_as_planned(tmp_path / "dataset", file)
        else:
            with opened(tmp_path / "dataset", file.name):
                pass
    assert caught.value.reason == "lies behind a symlink, or was moved"
