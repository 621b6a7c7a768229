from __future__ import annotations

import codecs
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import InvalidJobFile
from bulkhaul.joblist.jobfile import JobFile, log_line, parse_jobfile, render_jobfile, source_problem
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import SHORT, go_on

EXAMPLE = JobFile(
    "todo", "/lustre/plates/A1170383", ("target: s3://bucket/a", "notes: a person's"), ("[2026-11-21T10:00:03Z] x",)
)


def _lines(text: str) -> bool:
    return "\n" not in text and "\0" not in text and text == text.rstrip(" \t\r")


raw_text = st.binary(max_size=30).map(lambda data: data.decode("utf-8", "surrogateescape")).filter(_lines)
headers = raw_text.filter(lambda line: line != "---" and not line.lower().startswith("target"))


@given(
    word=st.sampled_from(["todo", "ongoing", "error", "success", "done", "paused"]),
    source=raw_text.map(lambda text: "/" + text).filter(lambda text: source_problem(text) is None),
    header=st.lists(headers, max_size=4),
    log=st.lists(raw_text, max_size=4),
)
def test_every_job_file_survives_a_rewrite(word: str, source: str, header: list[str], log: list[str]) -> None:
    file = JobFile(word, source, tuple(header), tuple(log))
    assert parse_jobfile(render_jobfile(file), name="a") == file


@given(st.binary(max_size=200))
def test_any_bytes_are_a_job_file_or_an_invalid_one(data: bytes) -> None:
    try:
        file = parse_jobfile(data, name="a")
    except InvalidJobFile as error:
        assert "\n" not in str(error)
        return
    assert parse_jobfile(render_jobfile(file), name="a") == file


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: codecs.BOM_UTF8 + data,
        lambda data: data.replace(b"\n", b" \t \n"),
        lambda data: data.rstrip(b"\n"),
        lambda data: codecs.BOM_UTF8 + data.replace(b"\n", b"  \r\n"),
    ],
    ids=["CRLF", "byte-order mark", "trailing blanks", "no last newline", "all of them"],
)
def test_what_editors_leave_is_read(change: object) -> None:
    assert callable(change)
    assert parse_jobfile(change(render_jobfile(EXAMPLE)), name="a") == EXAMPLE


def test_the_three_lines_of_the_older_scripts_are_read() -> None:
    file = parse_jobfile(b"todo\n/lustre/plates/A1\n---\n", name="a")
    assert (file.word, file.source, file.target, file.log) == ("todo", "/lustre/plates/A1", None, ())


INVALID = [
    (b"", "is empty"),
    (b"\n \n\t\n", "is empty"),
    (b"\xff\xfet\x00o\x00d\x00o\x00\n\x00", "binary"),
    (b"\0" * 4096, "binary"),
    (b"todo", "cut off"),
    (b"todo\n", "cut off"),
    (b"todo\n/lustre/pla", "cut off"),
    (b"todo\n/lustre/plates\ntarget: s3://buck", "cut off"),
    (b"todo\n---\n", "cut off"),
    (b"todo\nplates/A1\n---\n", "absolute"),
    (b"todo\n\n---\n", "absolute"),
    (b"todo\n/a\ntarget: s3://a/b\nTarget: s3://a/c\n---\n", "two `target:`"),
]


@pytest.mark.parametrize(("data", "reason"), INVALID)
def test_a_damaged_job_file_is_one_clear_line_and_is_neither_claimed_nor_touched(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    with pytest.raises(InvalidJobFile, match=reason) as caught:
        parse_jobfile(data, name="a")
    assert caught.value.exit_code == 65
    assert "\n" not in str(caught.value)

    (tmp_path / "a.txt").write_bytes(data)
    joblist = Joblist(tmp_path, **SHORT)
    [view] = joblist.scan()
    assert view.standing == "invalid"
    assert reason in view.problem
    with joblist.session(this_owner()) as session:
        assert session.claim_next(go_on) is None
    assert (tmp_path / "a.txt").read_bytes() == data


def test_a_rewrite_keeps_unknown_headers_and_a_source_that_is_not_utf_8(tmp_path: Path) -> None:
    data = b"todo\r\n/data/\xff\xe9 plate\r\nwho: Ann\r\nno colon here\r\n---\r\nmy own note\r\n"
    (tmp_path / "a.txt").write_bytes(data)
    joblist = Joblist(tmp_path, **SHORT)
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        assert bytes(claim.source) == b"/data/\xff\xe9 plate"
        assert claim.target is None
        assert claim.headers == {"who": "Ann"}
        claim.release("for a test")
    lines = (tmp_path / "a.txt").read_bytes().split(b"\n")
    assert lines[:6] == [b"todo", b"/data/\xff\xe9 plate", b"who: Ann", b"no colon here", b"---", b"my own note"]


def test_only_the_last_200_log_lines_stay() -> None:
    file = EXAMPLE
    for number in range(300):
        file = file.with_log(str(number))
    assert len(file.log) == 200
    assert (file.log[0], file.log[-1]) == ("100", "299")


def test_a_log_line_is_one_line_whatever_the_text() -> None:
    at = datetime(2026, 11, 21, 10, 0, 3, tzinfo=UTC)
    assert log_line("12/40 files,\n ---\x1b[31m red", at=at) == "[2026-11-21T10:00:03Z] 12/40 files, ---?[31m red"
    assert len(log_line("x" * 10_000, at=at)) < 1100
