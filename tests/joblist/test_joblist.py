from __future__ import annotations

from pathlib import Path

import pytest

from bulkhaul.errors import UsageError
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.summary import summarise_joblist
from joblist.standing_inputs import go_on, line_1, make_job, write_ledger
from unprivileged import reachable_folder, run_unprivileged


def test_a_missing_folder_is_an_error_until_the_first_job_makes_it(tmp_path: Path) -> None:
    folder = tmp_path / "joblists" / "src8"
    with pytest.raises(UsageError):
        Joblist(folder)
    joblist = Joblist(folder, create=True)
    assert joblist.add("a", source=Path("/data/a"), target="s3://bucket/a")
    assert Joblist(folder).names() == ["a"]


def test_extracting_again_touches_nothing(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    assert joblist.add("a", source=Path("/data/a"), target="s3://bucket/a")
    joblist.path("a").write_bytes(b"success\n/data/a\n---\n")
    assert not joblist.add("a", source=Path("/data/b"), target="s3://bucket/b")
    assert joblist.path("a").read_bytes() == b"success\n/data/a\n---\n"


def test_adding_the_same_job_twice_reports_it_once(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    made = [joblist.add("a", source=Path("/data/a"), target="s3://bucket/a") for _ in range(2)]
    assert made == [True, False]


def test_a_new_job_file_reads_as_the_format_says(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    joblist.add("a", source=Path("/data/\udcff"), target="s3://bucket/a")
    assert joblist.path("a").read_bytes() == b"todo\n/data/\xff\ntarget: s3://bucket/a\n---\n"


@pytest.mark.parametrize("name", ["", ".a", "#a", "a/b", "a\nb", "é" * 101, "\udcff"])
def test_a_name_that_cannot_be_a_job_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        Joblist(tmp_path).add(name, source=Path("/data/a"), target="s3://bucket/a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["data/a", "/data/a\nb", "/data/a "])
def test_a_source_that_a_line_cannot_hold_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(UsageError):
        Joblist(tmp_path).add("a", source=Path(source), target="s3://bucket/a")


def test_editors_litter_is_no_job(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    make_job(joblist)
    for litter in (".a.txt.swp", "a.txt~", "#a.txt#", ".#a.txt", "a.txt.swp", ".txt", "4913", "a.manifest.jsonl.gz"):
        (tmp_path / litter).touch()
    assert joblist.names() == ["a"]
    assert [view.name for view in joblist.scan()] == ["a"]


@pytest.mark.parametrize("name", ["n" * 240, "a\tb", "\udcff"])
def test_a_job_file_whose_name_is_no_good_is_shown_as_invalid_beside_the_others(tmp_path: Path, name: str) -> None:
    joblist = Joblist(tmp_path)
    make_job(joblist)
    (tmp_path / f"{name}.txt").write_bytes(b"todo\n/data/a\n---\n")
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        claim.end(Status.SUCCESS, "all", facts={})
        assert session.claim_next(go_on) is None
    assert {view.name: view.standing for view in joblist.scan()} == {"a": "ended", name: "invalid"}


def test_one_unreadable_job_file_does_not_hide_the_others() -> None:
    program = """
import sys
from pathlib import Path
from bulkhaul.joblist.summary import summarise_joblist
summary = summarise_joblist(Path(sys.argv[1]))
print(summary.total, summary.todo, summary.invalid_jobs)
"""
    with reachable_folder() as folder:
        joblist = Joblist(folder)
        make_job(joblist)
        make_job(joblist, "secret").chmod(0)
        done = run_unprivileged(program, folder)
        joblist.path("secret").chmod(0o600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 1 (('secret', 'secret.txt: there is no right to read it; ")


def test_a_scan_of_a_fresh_joblist_writes_nothing(tmp_path: Path) -> None:
    make_job(Joblist(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    assert len(Joblist(tmp_path).scan()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_retry_sets_what_failed_and_nothing_else(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    for name, word, state in [
        ("failed", "error", "error"),
        ("lagging", "ongoing", "error"),
        ("parked", "error", "empty"),
        ("owned", "ongoing", "alive"),
        ("proven", "success", "success"),
        ("unproven", "success", "empty"),
        ("older", "done", "empty"),
        ("invalid", "pause", "empty"),
    ]:
        make_job(joblist, name, word=word)
        write_ledger(joblist, state, name)

    assert joblist.retry(["proven", "failed"]) == ["failed"]
    assert joblist.read("failed").log[-1].endswith("todo: retry")
    assert joblist.retry() == ["lagging", "parked"]
    assert joblist.retry(unproven=True) == ["older", "unproven"]
    words = {name: line_1(joblist, name) for name in joblist.names()}
    assert words == {
        "failed": "todo",
        "lagging": "todo",
        "parked": "todo",
        "unproven": "todo",
        "older": "todo",
        "owned": "ongoing",
        "proven": "success",
        "invalid": "pause",
    }
    with pytest.raises(UsageError):
        joblist.retry(["failed", "no-such-job"])


def test_set_todo_takes_back_a_success_and_refuses_an_owned_job(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    make_job(joblist, "proven", word="success")
    write_ledger(joblist, "success", "proven")
    make_job(joblist, "owned", word="ongoing")
    write_ledger(joblist, "alive", "owned")

    joblist.set_todo("proven", "2 objects are missing")
    joblist.set_todo("proven", "again")
    with pytest.raises(UsageError):
        joblist.set_todo("owned", "2 objects are missing")

    assert line_1(joblist, "proven") == "todo"
    assert [line.split("] ")[1] for line in joblist.read("proven").log] == ["todo: 2 objects are missing"]
    assert line_1(joblist, "owned") == "ongoing"


def test_partial_manifests_are_found_in_order_and_by_their_whole_name(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    joblist.state_path("partial").mkdir(parents=True)
    paths = [joblist.work_path("a", generation) for generation in (2, 10, 1_000_000)]
    for path in reversed(paths):
        path.touch()
    joblist.work_path("a.b", 1).touch()
    assert joblist.work_paths("a") == paths
    joblist.discard_work("a", generation=10)
    assert joblist.work_paths("a") == paths[2:]
    assert len(joblist.work_paths("a.b")) == 1
    assert Joblist(tmp_path).work_paths("nobody") == []


def test_the_totals_of_a_summary_add_up(tmp_path: Path) -> None:
    joblist = Joblist(tmp_path)
    for number, (word, state) in enumerate(
        [
            ("todo", "empty"),
            ("ongoing", "alive"),
            ("error", "error"),
            ("success", "success"),
            ("done", "empty"),
            ("success", "expired"),
            ("?", "empty"),
        ]
    ):
        make_job(joblist, f"job{number}", word=word)
        write_ledger(joblist, state, f"job{number}")
    (tmp_path / "empty.txt").touch()

    summary = summarise_joblist(tmp_path)

    counts = (summary.todo, summary.ongoing, summary.success, summary.error, summary.unproven, summary.invalid)
    assert counts == (1, 1, 1, 1, 2, 2)
    assert summary.total == sum(counts) == 8
    assert summary.error_jobs == (("job2", "for a test"),)
    assert [name for name, _ in summary.unproven_jobs] == ["job4", "job5"]
    assert [name for name, _ in summary.invalid_jobs] == ["empty", "job6"]
    assert summary.as_dict()["total"] == 8
