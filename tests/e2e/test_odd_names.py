"""Odd names in a dataset: what S3 takes arrives byte by byte, the rest is refused by name, and arrives renamed."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping

import pytest

from e2e.accounts import FAILED, JOB, PREFIX, Fate, assert_books, error_line, manifest, retry, transfer
from e2e.lab import Lab
from e2e.odd_entries import ODD, assert_clear, begin, put
from e2e.turnstile import front_env, is_probe
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3

WELCOME = [
    "n" * 255,
    "\u00e9" * 127,
    "with blank",
    " leading blank",
    "trailing blank ",
    "trailing dot.",
    "...",
    ".hidden",
    "'single' \"double\"",
    "%41 100% %2F %",
    "a+b",
    "#fragment",
    "what?x=1&y=2",
    "star*",
    "semi;colon:comma,at@equals=",
    "<tag>&amp;",
    "[brackets]{braces}|pipe^caret`~$!",
    unicodedata.normalize("NFC", "caf\u00e9"),
    unicodedata.normalize("NFD", "caf\u00e9"),
    "emoji \U0001f52c",
    "full width \uff5e",  # before the emoji in UTF-8, after it in UTF-16
    "line\u2028separator",
    "\ufeffmark",
    "\u202eright to left",
    "a b",
    "a/x",  # SeaweedFS lists it before `a b`
    "a.txt",
]
REFUSED = {
    "new\nline": "control character",
    "carriage\rreturn": "control character",
    "tab\t": "control character",
    "bell\x07": "control character",
    "delete\x7f": "control character",
    "next\x85line": "control character",
    "back\\slash": "backslash",
    os.fsdecode(b"latin1-\xe9"): "not valid UTF-8",
    os.fsdecode(b"half-\xf0\x9f"): "not valid UTF-8",
    "no character \ufffe": "control character",
}


def test_odd_names_arrive_or_are_refused_in_the_plan_and_arrive_renamed(lab: Lab, front: StubS3, engine: str) -> None:
    folder = begin(lab)
    for name in WELCOME:
        put(folder, name)
    exceptions = {put(folder, name): Fate(FAILED, f"refused: {reason}") for name, reason in _reasons().items()}
    report = transfer(lab, "--engine", engine, expect=3, env=front_env(front))
    assert report["failed"] == [JOB]
    assert_books(lab, exceptions)
    asked = {entry.key for entry in front.log.entries}
    assert not [key for key in asked for name in exceptions if key == f"{PREFIX}/{name}"]
    first = min(exceptions, key=os.fsencode)
    assert_clear(error_line(lab), count=len(exceptions), words=["control character", repr(first)])

    for number, name in enumerate(REFUSED):
        (folder / name).rename(folder / f"renamed {number}")
    retry(lab)
    front.log.clear()
    report = transfer(lab, "--engine", engine, env=front_env(front))
    assert report["files_sent"] == len(REFUSED)
    assert_books(lab, {})
    sent = {entry.key for entry in front.log.entries if entry.operation == "PutObject" and not is_probe(entry.key)}
    assert sent == {f"{PREFIX}/{ODD}/renamed {n}" for n in range(len(REFUSED))} | {f"{PREFIX}.manifest.jsonl.gz"}
    lab.type_todo()
    assert transfer(lab, "--engine", engine)["files_sent"] == 0


def _reasons() -> Mapping[str, str]:
    return {
        name: f"the name has a {why}" if "UTF" not in why else f"the name is {why}" for name, why in REFUSED.items()
    }


def test_a_key_of_1024_bytes_arrives_and_one_of_1025_is_refused(lab: Lab, engine: str) -> None:
    folder = begin(lab)
    base = f"{PREFIX}/{ODD}/"
    deep = ""
    while len(base) + len(deep) + 1 + 200 < 1024 - 50:
        deep += "k" * 200 + "/"
    longest = deep + "m" * (1024 - len(base) - len(deep))
    put(folder, longest, "longest")
    # The same number of characters, one byte more.
    too_long = put(folder, longest[:-1] + "\u00e9", "too long")
    far_too_long = put(folder, "/".join(["l" * 240] * 6), "far too long")
    transfer(lab, "--engine", engine, expect=3)
    assert_books(
        lab,
        {
            too_long: Fate(FAILED, "refused: the key has 1025 bytes, S3 takes 1024"),
            far_too_long: Fate(FAILED, "refused: the key has"),
        },
    )
    assert_clear(error_line(lab), count=2, words=["the key has 1025 bytes", "S3 takes 1024", "m\u00e9'"])


def test_many_failures_with_long_names_leave_room_for_the_next_step(lab: Lab) -> None:
    folder = begin(lab)
    for number in range(30):
        put(folder, f"{number:02d}" + "x" * 250 + "\n")
    transfer(lab, expect=3)
    assert_clear(error_line(lab), count=30, words=[f"{ODD}/00xxx", "xxx\\n': refused: ", "manifest"])


def test_two_hundred_folders_deep_arrives(lab: Lab) -> None:
    folder = begin(lab)
    put(folder, "d/" * 200 + "leaf")
    put(folder, "d/" * 100 + "leaf")
    transfer(lab)
    assert_books(lab, {})


def test_paths_longer_than_the_system_takes_fail_by_name(lab: Lab) -> None:
    folder = begin(lab)
    here = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(20):  # more than PATH_MAX, which only steps can make
            os.mkdir("p" * 250, dir_fd=here)
            inner = os.open("p" * 250, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
    finally:
        os.close(here)
    transfer(lab, expect=3)
    failures = [record for record in manifest(lab).values() if record["outcome"] == FAILED]
    assert len(failures) == 1
    assert "File name too long" in failures[0]["reason"]
    assert_clear(error_line(lab), count=1, words=["File name too long"])
