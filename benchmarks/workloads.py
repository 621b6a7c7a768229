"""What is moved: the workloads by name, and their files on disk."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Files:
    """`count` files of `size` bytes, spread over `folders` folders."""

    count: int
    size: int
    folders: int = 1

    def scaled(self, share: float) -> Files:
        """The same with a share of the files; of a single file with a share of its bytes."""
        size = self.size if self.count * share >= 1 else round(self.size * self.count * share)
        return Files(max(1, round(self.count * share)), size, max(1, round(self.folders * share)))


@dataclass(frozen=True, slots=True)
class Workload:
    """A folder to move to a server; `again`: all of it is there already.

    `slow_share` is the part of the files that programs get which would take minutes; rates are compared.
    """

    name: str
    title: str
    files: tuple[Files, ...]
    server: str = "sink"
    again: bool = False
    slow_share: float = 0.1

    @property
    def tree(self) -> str:
        """The name of its folder: workloads with the same files share one."""
        return "-".join(f"{group.count}x{group.size}in{group.folders}" for group in self.files)

    @property
    def count(self) -> int:
        """How many files."""
        return sum(group.count for group in self.files)

    @property
    def nbytes(self) -> int:
        """How many bytes."""
        return sum(group.count * group.size for group in self.files)

    def scaled(self, share: float) -> Workload:
        """The same with a share of the files of each kind."""
        groups = tuple(group.scaled(share) for group in self.files)
        return replace(self, files=groups)


_SMALL = (Files(20_000, 16 * KIB, 200),)

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", "20,000 x 16 KiB, null sink", _SMALL),
        Workload("W1s", "20,000 x 16 KiB, SeaweedFS", _SMALL, server="seaweed"),
        Workload("W2", "2,000 x 1 MiB, null sink", (Files(2_000, MIB, 20),)),
        Workload("W3", "2 x 1 GiB, null sink", (Files(2, GIB),), slow_share=0.5),
        # Its timed part sends nothing. What it compares are ETags, and on S3 they are MD5s.
        Workload("W4", "W1 again, all there already, null sink with MD5", _SMALL, server="sink with MD5", again=True),
        Workload("W5", "W1 over a round trip of 40 ms", _SMALL, server="far sink", slow_share=0.05),
        Workload(
            "W6",
            "10,000 small, 100 x 8 MiB, 1 x 1 GiB",
            (Files(10_000, 16 * KIB, 100), Files(100, 8 * MIB), Files(1, GIB)),
        ),
    )
}


def write_tree(root: Path, files: tuple[Files, ...]) -> None:
    """Write the files below `root` unless they are there; random bytes, so that nothing can be compressed or shared."""
    done = root.with_suffix(".done")
    if done.exists():
        return
    content = random.Random(1).randbytes(4 * MIB)
    for number, (name, size) in enumerate(names(files)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, size, content, shift=number)
    done.touch()


def names(files: tuple[Files, ...]) -> Iterator[tuple[str, int]]:
    """The files' names below the root, and so their keys below the prefix, with their sizes."""
    for kind, group in enumerate(files):
        for number in range(group.count):
            yield f"plate/kind{kind}/{number % group.folders:03}/{number // group.folders}.bin", group.size


def _write(path: Path, size: int, content: bytes, *, shift: int) -> None:
    with path.open("wb") as file:
        left, start = size, shift * 4_099 % (len(content) // 2)
        while left:
            piece = content[start : start + min(left, len(content) - start)]
            file.write(piece)
            left -= len(piece)
            start = 0
