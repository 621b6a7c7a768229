"""The parts of a large file: within the limits of S3, covering it exactly, each reading its stretch alone."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul import errors
from bulkhaul.s3.engine import once
from bulkhaul.s3.multipart import upload_large
from bulkhaul.s3.parts import LARGEST_OBJECT, MOST_PARTS, OpenFile, PartBody, Span, part_size_for, spans_of
from bulkhaul.s3.retry import open_gate
from s3.expected import KEY
from s3.large import MIB, FileJournal, open_file

GIB, TIB = 2**30, 2**40


@pytest.mark.parametrize(
    ("size", "wanted", "part_size", "parts"),
    [
        (1, 16 * MIB, 16 * MIB, 1),
        (16 * MIB, 16 * MIB, 16 * MIB, 1),
        (16 * MIB + 1, 16 * MIB, 16 * MIB, 2),
        (20 * MIB, 1 * MIB, 5 * MIB, 4),
        (5 * GIB, 16 * MIB, 16 * MIB, 320),
        (5 * GIB + 1, 64 * MIB, 64 * MIB, 81),
        (10_000 * 16 * MIB, 16 * MIB, 16 * MIB, 10_000),
        (10_000 * 16 * MIB + 1, 16 * MIB, 32 * MIB, 5_001),
        (5 * TIB, 16 * MIB, 1024 * MIB, 5_120),
        (5 * TIB, 64 * MIB, 1024 * MIB, 5_120),
    ],
)
def test_parts_stay_within_the_limits_of_s3(size: int, wanted: int, part_size: int, parts: int) -> None:
    chosen = part_size_for(size, wanted, thing="file")

    assert (chosen, len(spans_of(size, chosen))) == (part_size, parts)


@given(st.integers(1, LARGEST_OBJECT), st.sampled_from([5, 16, 17, 33, 64]))
def test_any_size_is_covered_exactly_by_parts_that_s3_takes(size: int, wanted: int) -> None:
    part_size = part_size_for(size, wanted * MIB, thing="file")
    spans = spans_of(size, part_size)

    assert 1 <= len(spans) <= MOST_PARTS
    assert part_size % MIB == 0
    assert 5 * MIB <= part_size <= 5 * GIB
    assert [span.number for span in spans] == list(range(1, len(spans) + 1))
    assert all(span.start == before.start + before.length for before, span in pairwise(spans))
    assert spans[0].start == 0
    assert spans[-1].start + spans[-1].length == size
    assert all(span.length == part_size for span in spans[:-1])


def test_a_file_above_5_tib_is_refused_in_one_line_before_anything_is_asked(journal: FileJournal) -> None:
    with pytest.raises(errors.ObjectRefused, match="5 TiB") as caught:
        upload_large(
            None,
            "bucket",
            KEY,
            OpenFile(-1, Path("/data/huge.bin"), LARGEST_OBJECT + 1, 0, 0, 0),
            part_size=16 * MIB,
            journal=journal,
            repeat=once,
            gate=open_gate,
            on_bytes=lambda _count: None,
        )
    assert "/data/huge.bin" in str(caught.value)


@given(st.integers(0, 100), st.integers(0, 100), st.lists(st.integers(1, 40), max_size=10))
def test_a_body_reads_its_stretch_of_the_file_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, reads: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "stretch.bin"
    data = bytes(range(200))
    path.write_bytes(data)
    wanted = data[start : start + length]
    with open_file(path) as opened:
        body = PartBody(opened, Span(1, start, length))
        pieces = b"".join(body.read(most) for most in reads)
        assert pieces == wanted[: sum(reads)]
        assert body.tell() == len(pieces)
        assert pieces + body.read() == wanted
        assert body.read() == b""
        assert body.seek(0) == 0
        assert body.read(-1) == wanted
        assert (len(body), body.seek(0, os.SEEK_END)) == (length, length)
