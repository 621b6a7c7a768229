"""Results and outputs that are missing, unreadable, full or in the way of each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkhaul.errors import SourceError, StorageError, UsageError
from bulkhaul.extract import extract_joblist
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.messages import Mark, Message
from bulkhaul.sources.layouts import folders
from extract.extracting import assert_nothing_written, extract, make_folders
from servers.disk import remount, small_file_system
from unprivileged import reachable_folder, run_unprivileged


@pytest.mark.parametrize("state", ["missing", "empty", "matches nothing"])
def test_results_without_datasets_are_an_error_and_nothing_is_written(tmp_path, results, state):
    if state == "missing":
        results.rmdir()
    if state == "matches nothing":
        make_folders(results, "unknown")

    with pytest.raises(SourceError, match=re.escape(str(results))) as caught:
        extract(results, tmp_path / "out")

    assert caught.value.exit_code == 66
    assert_nothing_written(tmp_path / "out")


@pytest.mark.parametrize(
    ("target", "reason"), [("bucket/prefix", "not a target"), ("s3://bkt/ü\n", "control character")]
)
def test_a_target_that_is_none_is_a_usage_error(tmp_path, results, target, reason):
    make_folders(results, "a")

    with pytest.raises(UsageError, match=reason):
        extract(results, tmp_path / "out", layout=folders(1), target=target)

    assert_nothing_written(tmp_path / "out")


def test_an_output_that_is_a_file_or_lies_in_the_results_is_a_usage_error(tmp_path, results):
    make_folders(results, "a")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(results)

    for output, reason in [("file", "not a folder"), ("link/jobs", "inside the results"), ("results", "inside the")]:
        with pytest.raises(UsageError, match=reason):
            extract(results, tmp_path / output, layout=folders(1))

    assert [path.name for path in results.iterdir()] == ["a"]


_EXTRACT = """
import sys
from pathlib import Path
from bulkhaul.errors import BulkhaulError
from bulkhaul.extract import extract_joblist
from bulkhaul.sources.layouts import folders
results, output = map(Path, sys.argv[1:])
try:
    extract_joblist(results, output=output, joblists=output, layout=folders(1), target="s3://bucket", say=print)
except BulkhaulError as error:
    print(type(error).__name__, error.exit_code, error)
"""


@pytest.mark.parametrize("output", ["out", "out/new/one"])
def test_an_output_that_cannot_be_written_is_one_storage_error_before_any_job(output):
    with reachable_folder() as folder:
        make_folders(folder / "results", "a")
        (folder / "out").mkdir(mode=0o555)

        done = run_unprivileged(_EXTRACT, folder / "results", folder / output)

        assert list((folder / "out").iterdir()) == []
    assert done.stderr == ""
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"StorageError 74 {folder / output}: Permission denied; ")
    assert "job(s)" not in done.stdout


def test_an_unreadable_batch_is_an_error_and_nothing_is_written():
    with reachable_folder() as folder:
        make_folders(folder / "results", "a", "closed")
        (folder / "results" / "closed").chmod(0)
        (folder / "out").mkdir()
        (folder / "out").chmod(0o777)

        done = run_unprivileged(_EXTRACT, folder / "results", folder / "out")

        assert list((folder / "out").iterdir()) == []
    assert f"SourceError 66 {folder / 'results' / 'closed'}: no right to read it" in done.stdout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds few files."""
    with small_file_system(tmp_path / "disk", options="size=1m,nr_inodes=45") as disk:
        yield disk


def test_a_full_disk_leaves_whole_jobs_and_a_rerun_adds_the_others(tmp_path, results, small_disk):
    make_folders(results, *(f"n{number:02d}" for number in range(60)))

    with pytest.raises(StorageError, match="No space left") as caught:
        extract(results, small_disk / "out", layout=folders(1))

    assert caught.value.exit_code == 74
    joblist = Joblist(small_disk / "out")
    written = joblist.names()
    assert 0 < len(written) < 60
    assert [joblist.read(name).status for name in written] == [Status.TODO] * len(written)

    remount(small_disk, options="size=1m,nr_inodes=1000")
    report, _ = extract(results, small_disk / "out", layout=folders(1))

    assert (len(report.created), list(report.kept)) == (60 - len(written), written)
    assert [path.name for path in small_disk.glob("out/**/.*.tmp")] == []


def test_without_a_target_the_job_files_have_the_older_scripts_three_lines(tmp_path, results):
    make_folders(results, "a")
    said = []
    report = extract_joblist(
        results, output=tmp_path / "jobs", joblists=tmp_path, layout=folders(), target=None, say=said.append
    )
    assert report.created == ("a",)
    assert (tmp_path / "jobs" / "a.txt").read_text() == f"todo\n{results.resolve() / 'a'}\n---\n"
    hint = Message(Mark.WARNING, "No target is set; add `target` to bulkhaul.toml before the transfer.", detail=2)
    assert hint in said
