"""The check of a joblist: job files, targets that meet, what earlier work left."""

from __future__ import annotations

import pytest

from bulkhaul.check.joblist import check_joblist
from bulkhaul.errors import UsageError
from check.checking import BUCKET, add, by_default_chain, check, make_dataset, no_target, notices, problems

pytestmark = pytest.mark.slow  # a server a test


def test_a_sound_joblist_passes_and_says_what_was_looked_at(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a", "c/0", "c/1", "zarr.json"))
    before = joblist.path("a").read_bytes()
    said = []

    report = check_joblist(
        joblist.folder, connect=by_default_chain(), target_of=no_target, say=lambda message: said.append(str(message))
    )

    assert (report.exit_code, report.jobs, report.files, report.bytes) == (0, 1, 3, 15)
    assert said[0] == "💡 Found 1 job file(s)."
    assert "💡 Sources: 3 file(s), 0.0 GB to compare or send." in said
    assert "💡 Writable: s3://bkt (1 job(s))" in said
    assert said[-1] == "✅ Check passed."
    assert joblist.path("a").read_bytes() == before
    assert stub.store.buckets[BUCKET] == {}
    assert stub.store.uploads == {}


def test_jobs_side_by_side_cost_one_probe(tmp_path, joblist, stub):
    add(joblist, "first", make_dataset(tmp_path / "first"), f"s3://{BUCKET}/J1/p0")
    check(joblist)
    for_one = stub.log.counts()["PutObject"]
    stub.log.clear()
    for number in range(1, 20):
        add(joblist, f"p{number}", make_dataset(tmp_path / f"p{number}"), f"s3://{BUCKET}/J1/p{number}")
    add(joblist, "other", make_dataset(tmp_path / "other"), f"s3://{BUCKET}/J2/p0")

    report = check(joblist)

    assert report.exit_code == 0
    assert 0 < stub.log.counts()["PutObject"] == 2 * for_one


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"todo\n\x00\x01\n---\n", "binary", id="binary"),
        pytest.param(b"todo\n", "cut off", id="truncated"),
        pytest.param(b"finished\n/data/x\n---\n", "no status", id="unknown status"),
    ],
)
def test_a_damaged_job_file_is_named_with_the_reason(tmp_path, joblist, stub, content, reason):
    (joblist.folder / "bad.txt").write_bytes(content)
    add(joblist, "good", make_dataset(tmp_path / "good"))

    report = check(joblist)

    (problem,) = problems(report)
    assert problem.startswith("bad.txt: ")
    assert reason in problem
    assert report.exit_code == 65
    assert (joblist.folder / "bad.txt").read_bytes() == content


def test_old_job_files_take_their_target_from_the_layout_or_are_named(tmp_path, joblist, stub):
    source = make_dataset(tmp_path / "a")
    (joblist.folder / "old.txt").write_text(f"todo\n{source}\n---\n")

    assert problems(check(joblist)) == [f"old.txt: no usable target: {source}: no layout fits"]
    found = check_joblist(joblist.folder, connect=by_default_chain(), target_of=lambda _: f"s3://{BUCKET}/from-layout")
    assert found.exit_code == 0


def test_a_missing_target_is_one_finding_however_many_jobs_lack_it(tmp_path, joblist):
    def no_setting(_source):
        raise UsageError("target", "not set", "add it to bulkhaul.toml")

    for number in range(5):
        joblist.add(f"j{number}", source=make_dataset(tmp_path / f"j{number}"))
    report = check_joblist(joblist.folder, connect=by_default_chain(), target_of=no_setting)
    assert problems(report) == ["j0.txt, j1.txt, j2.txt and 2 more: no usable target: target: not set"]
    assert report.exit_code == 2


def test_unproven_jobs_are_told_since_no_worker_claims_them(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"), "s3://bkt/a")
    path = joblist.path("a")
    path.write_text(path.read_text().replace("todo", "done", 1))
    report = check(joblist)
    assert problems(report) == []
    assert any("a.txt: 1 job(s) have a status that no record proves" in notice for notice in notices(report))


def test_a_joblist_without_jobs_is_a_usage_problem(joblist):
    assert check(joblist, lambda _: pytest.fail("nothing to connect to")).exit_code == 2


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("s3://bkt/x", "s3://bkt/x", "they have the same target"),
        ("s3://bkt/x", "s3://bkt/x/y", "s3://bkt/x/y lies within the other's target"),
        ("s3://bkt/x", "s3://bkt/x-y", None),
        ("s3://bkt/x", "s3://bkt2/x", None),
    ],
)
def test_jobs_whose_targets_meet_are_named_together(tmp_path, joblist, stub, first, second, reason):
    stub.store.make_bucket("bkt2")
    add(joblist, "a", make_dataset(tmp_path / "a"), first)
    add(joblist, "b", make_dataset(tmp_path / "b"), second)

    report = check(joblist)

    if reason is None:
        assert problems(report) == []
    else:
        assert problems(report) == [f"a.txt and b.txt: {reason}: {first}"]
        assert report.exit_code == 65
