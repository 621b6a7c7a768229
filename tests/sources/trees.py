"""Random trees with odd names, and how they are made on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hypothesis import strategies as st

# Bytes around `/` (0x2f) decide the order of `a b`, `a-b`, `a.b`, `a/x`, `a0`; the others are odd in other ways.
_ODD_BYTES = st.sampled_from(
    [b"a", b"b", b" ", b"-", b".", b"0", b"!", b"\n", b'"', b"'", b"\\", b"\x01", b"\xff", "é".encode()]
)
_NAMES = st.lists(_ODD_BYTES, min_size=1, max_size=4).map(b"".join).filter(lambda name: name not in {b".", b".."})
TREES = st.recursive(st.none(), lambda inner: st.dictionaries(_NAMES, inner, max_size=5), max_leaves=25).filter(
    lambda tree: tree is not None
)


def build(folder: Path, tree: dict[bytes, object]) -> None:
    for name, inner in tree.items():
        path = folder / os.fsdecode(name)
        if inner is None:
            path.touch()
        else:
            path.mkdir()
            build(path, inner)


def ends(prefix: bytes, tree: dict[bytes, object]) -> Iterator[bytes]:
    for name, inner in tree.items():
        if inner is None:
            yield prefix + name
        elif inner:
            yield from ends(prefix + name + b"/", inner)
        else:
            yield prefix + name + b"/"
