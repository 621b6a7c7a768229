from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulkhaul.errors import SourceChanged, SourceError
from bulkhaul.transfer.reading import opened, read_whole, slices


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
