"""Names and targets that meet, or that nobody could store: an error before anything is written."""

from __future__ import annotations

import os

import pytest

from bulkhaul.errors import SourceError
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.sources.layouts import Layout, folders
from extract.extracting import assert_nothing_written, extract, files_of, make_folders


def test_two_datasets_with_one_name_are_an_error_before_anything_is_written(tmp_path, results):
    make_folders(results, "fine/data", "a/b__c", "a__b/c")

    with pytest.raises(SourceError) as caught:
        extract(results, tmp_path / "out", layout=folders(2))

    assert str(results / "a" / "b__c") in caught.value.thing
    assert str(results / "a__b" / "c") in caught.value.thing
    assert_nothing_written(tmp_path / "out")


def test_a_dataset_that_has_the_name_of_another_folders_job_is_an_error_before_anything_is_written(tmp_path, results):
    make_folders(results, "same")
    make_folders(tmp_path / "more", "new", "same")
    extract(results, tmp_path / "out", layout=folders(1))
    before = files_of(tmp_path / "out")

    with pytest.raises(SourceError, match="share the job name 'same'") as caught:
        extract(tmp_path / "more", tmp_path / "out", layout=folders(1))

    assert caught.value.thing == f"{tmp_path / 'more' / 'same'} and {results / 'same'}"
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("s3://bkt/x", "s3://bkt/x"),
        ("s3://bkt", "s3://bkt/d/x"),
        ("s3://bkt/d/x", "s3://bkt"),
    ],
    ids=["equal", "inside an old one", "around an old one"],
)
def test_a_target_that_meets_that_of_another_job_is_an_error_before_anything_is_written(
    tmp_path, results, first, second
):
    make_folders(results, "d")
    make_folders(tmp_path / "more", "d")
    named = Layout(name="other", path="{a}", job_name="other-{a}", key="{a}")
    extract(results, tmp_path / "out", layout=folders(1), target=first)
    before = files_of(tmp_path / "out")

    with pytest.raises(SourceError, match="the same or lie one within the other"):
        extract(tmp_path / "more", tmp_path / "out", layout=named, target=second)

    assert files_of(tmp_path / "out") == before


def test_kept_jobs_with_another_target_are_told(tmp_path, results):
    make_folders(results, "a", "b")
    extract(results, tmp_path / "out", layout=folders(1), target="s3://old")

    _, said = extract(results, tmp_path / "out", layout=folders(1), target="s3://new")

    assert "❗ 2 job(s) that were there keep another target, first 'a.txt'." in said
    assert Joblist(tmp_path / "out").read("a").target == "s3://old/a"


def test_a_job_file_that_cannot_be_read_is_kept_as_it_is(tmp_path, results):
    make_folders(results, "a", "b")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_bytes(b"\x00\xff")

    report, _ = extract(results, tmp_path / "out", layout=folders(1))

    assert (report.created, report.kept) == (("b",), ("a",))
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("name", [b"a\nb", b"#a", b"n" * 201, b"\xff", b"a\x7f"])
def test_a_folder_whose_job_name_is_no_safe_file_name_is_an_error_before_anything_is_written(tmp_path, results, name):
    make_folders(results, "fine", os.fsdecode(name))

    with pytest.raises(SourceError, match="its job name") as caught:
        extract(results, tmp_path / "out", layout=folders(1))

    assert caught.value.thing == str(results / os.fsdecode(name))
    assert_nothing_written(tmp_path / "out")


def test_a_folder_whose_key_s3_would_refuse_is_an_error_before_anything_is_written(tmp_path, results):
    make_folders(results, "fine", "back\\slash")

    with pytest.raises(SourceError, match="the name has a backslash"):
        extract(results, tmp_path / "out", layout=folders(1))

    assert_nothing_written(tmp_path / "out")


@pytest.mark.parametrize("name", ["A 1", 'O\'Brien "x"', "größe", "n" * 200])
def test_odd_but_safe_folder_names_make_jobs(tmp_path, results, name):
    make_folders(results, name)

    extract(results, tmp_path / "out", layout=folders(1))

    assert Joblist(tmp_path / "out").read(name).source == results / name
