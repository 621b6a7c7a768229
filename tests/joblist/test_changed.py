"""A summary by the index says what a summary that reads everything says, whatever has happened since the scan."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhaul.joblist.index import read_index
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import End, new_record, publish
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.summary import summarise, summarise_joblist
from joblist.standing_inputs import dead_owner, line_1, make_job, write_ledger

JOBS = 40  # so many that a change of one or two leaves the index in use

Change = Callable[[Joblist], object]


def typed(name: str, word: str) -> Change:
    """A person overwrites line 1 in place, as some editors do; the file keeps its inode and, here, its size."""

    def change(joblist: Joblist) -> None:
        path = joblist.path(name)
        old, rest = path.read_bytes().split(b"\n", 1)
        before = path.stat()
        path.write_bytes(word.encode().ljust(len(old)) + b"\n" + rest)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return change


def replaced(name: str, word: str) -> Change:
    """The same by an editor that renames a new file into place."""

    def change(joblist: Joblist) -> None:
        path = joblist.path(name)
        copy = path.with_suffix(".new")
        copy.write_bytes(path.read_bytes().replace(line_1(joblist, name).encode(), word.encode(), 1))
        shutil.copystat(path, copy)
        copy.replace(path)

    return change


def claimed_by_the_dead(joblist: Joblist) -> None:
    publish(joblist.state_path("ledger"), new_record("owned", 2, dead_owner(), end=End.RELEASED))


CHANGES: dict[str, Change] = {
    "nothing": lambda _joblist: None,
    "a success typed to todo": typed("success", "todo"),
    "a success that became an error": replaced("success", "error"),
    "a todo parked": typed("todo", "error"),
    "a todo that somebody called success": replaced("todo", "success"),
    "an error set back": typed("failed", "todo"),
    "a word that is no status": typed("todo", "done"),
    "a job that was removed": lambda joblist: joblist.path("todo").unlink(),
    "a job that is a folder now": lambda joblist: (joblist.path("todo").unlink(), joblist.path("todo").mkdir()),
    "a job that leads nowhere": lambda joblist: (
        joblist.path("todo").unlink(),
        joblist.path("todo").symlink_to("nowhere"),
    ),
    "a new job": lambda joblist: make_job(joblist, "another"),
    "an owner who gave back and could not say so": claimed_by_the_dead,
    "no ledger any more": lambda joblist: shutil.rmtree(joblist.state_path("ledger")),
}


@pytest.fixture
def joblist(tmp_path: Path) -> Joblist:
    """A job of each kind among many, and the index of a scan."""
    joblist = Joblist(tmp_path)
    words = {"todo": "empty", "success": "success", "failed": "error", "owned": "alive", "left": "released"}
    for name, state in words.items():
        word = {"failed": "error", "owned": "ongoing", "left": "todo"}.get(name, name)
        make_job(joblist, name, word=word)
        write_ledger(joblist, state, name)
    for number in range(JOBS):
        make_job(joblist, f"{number:02}", word="success")
        write_ledger(joblist, "success", f"{number:02}")
    joblist.scan()
    return joblist


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("dry_run", [True, False])
def test_the_index_never_hides_a_change(joblist: Joblist, change: Change, dry_run: bool) -> None:
    change(joblist)
    expected = summarise(joblist.iterate())
    before = read_index(JoblistPaths(joblist.folder))
    assert summarise_joblist(joblist.folder, dry_run=dry_run) == expected
    assert read_index(JoblistPaths(joblist.folder)) == before, "few changes: the index was used, and stays"


def test_a_first_line_that_lags_is_repaired_unless_nothing_may_be_written(joblist: Joblist) -> None:
    claimed_by_the_dead(joblist)
    summarise_joblist(joblist.folder, dry_run=True)
    assert line_1(joblist, "owned") == "ongoing"
    summarise_joblist(joblist.folder)
    assert line_1(joblist, "owned") == "todo"


def test_after_many_changes_a_summary_makes_a_new_index(joblist: Joblist) -> None:
    for number in range(JOBS // 4):
        typed(f"{number:02}", "todo")(joblist)
    before = read_index(JoblistPaths(joblist.folder))
    assert summarise_joblist(joblist.folder).todo == JOBS // 4 + 2
    after = read_index(JoblistPaths(joblist.folder))
    assert before is not None
    assert after is not None
    assert after.serial == before.serial + 1
    counts, views = joblist.changed(repair=False)
    assert {view.name for view in views} == {"failed", "owned"}, "those are always looked at"
    assert counts[Status.TODO] == JOBS // 4 + 2


def test_the_index_of_another_version_is_none(joblist: Joblist) -> None:
    path = JoblistPaths(joblist.folder).index
    path.write_text('{"serial": 7, "took": 0.1, "jobs": [["todo", "ended", "success", 2]]}')
    assert read_index(JoblistPaths(joblist.folder)) is None
    assert summarise_joblist(joblist.folder).todo == 2
