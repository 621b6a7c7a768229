"""The check of the sources: gone, unreadable, named in a way that the target refuses."""

from __future__ import annotations

import os

import pytest

from bulkhaul.joblist.job import Status
from bulkhaul.joblist.liveness import this_owner
from check.checking import BUCKET, add, check, make_dataset, notices, problems

pytestmark = pytest.mark.slow  # a server a test


def test_a_source_that_vanished_is_no_folder_or_holds_nothing_is_named(tmp_path, joblist, stub):
    (tmp_path / "file").touch()
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    for name in ("gone", "file", "empty"):
        add(joblist, name, tmp_path / name)

    report = check(joblist)

    assert problems(report) == [
        f"{tmp_path / 'empty'}: it holds no file",
        f"file.txt: {tmp_path / 'file'}: the dataset cannot be read: Not a directory",
        f"gone.txt: {tmp_path / 'gone'}: the dataset cannot be read: No such file or directory",
    ]
    assert report.exit_code == 66


def test_names_that_the_target_refuses_are_counted_and_the_first_ones_named(tmp_path, joblist, stub):
    odd = [b"back\\slash", b"bell\x07", b"new\nline", b"not-utf8-\xff", b"deep/" + b"/".join([b"d" * 255] * 4)]
    source = make_dataset(tmp_path / "a", "fine", "blank and 'quote\"", *(os.fsdecode(name) for name in odd))
    add(joblist, "a", source)

    report = check(joblist)

    (problem,) = problems(report)
    assert problem.startswith(f"{source}: 5 names cannot be keys: 'back\\\\slash' (the name has a backslash), ")
    assert problem.endswith(" and 2 more")
    assert report.exit_code == 66


def test_a_key_is_judged_with_its_prefix(tmp_path, joblist, stub):
    name = "n" * 255
    add(joblist, "fits", make_dataset(tmp_path / "fits", name), f"s3://{BUCKET}/{'p' * 768}")
    add(joblist, "toolong", make_dataset(tmp_path / "toolong", name), f"s3://{BUCKET}/{'q' * 769}")

    (problem,) = problems(check(joblist))

    assert problem.startswith(f"{tmp_path / 'toolong'}: 1 names cannot be keys")
    assert "the key has 1025 bytes" in problem


def test_what_is_not_sent_by_policy_is_a_notice(tmp_path, joblist, stub):
    source = make_dataset(tmp_path / "a")
    (source / "link").symlink_to("zarr.json")
    os.mkfifo(source / "fifo")
    add(joblist, "a", source)

    report = check(joblist)

    assert report.exit_code == 0
    assert f"{source}: 2 entries are not sent: 'fifo' (FIFO), 'link' (symlink)" in notices(report)


def test_jobs_that_are_done_need_no_source_any_more(tmp_path, joblist, stub):
    add(joblist, "gone", tmp_path / "gone")
    assert check(joblist).exit_code == 66

    with joblist.session(this_owner()) as session:
        claim = session.claim_next(lambda: None)
        assert claim is not None
        claim.end(Status.SUCCESS, "done", facts={})

    assert check(joblist).exit_code == 0


def test_temporary_files_of_killed_writers_are_told(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"))
    leftover = joblist.folder / ".a.txt.0123456789ab.tmp"
    leftover.touch()

    report = check(joblist)

    assert report.exit_code == 0
    assert f"{joblist.folder}: 1 temporary file(s) of killed writers: {leftover}" in notices(report)
