from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkhaul.errors import SourceError, StorageError, UsageError
from bulkhaul.extract import ExtractReport, extract_joblist
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.messages import Mark, Message
from bulkhaul.sources.layouts import JUMP, Layout, folders
from servers.disk import remount, small_file_system
from unprivileged import reachable_folder, run_unprivileged

OBJECTS = "aggregated/broad/cellpainting-gallery/cpg0016-jump/{}/workspace/segmentation/cellpose/objects"
TARGET = "s3://cellpainting-gallery"


def make_plate(results: Path, source: str, batch: str, plate: str) -> Path:
    folder = results / OBJECTS.format(source) / batch / plate
    (folder / f"{plate}.zarr").mkdir(parents=True)
    return folder


def make_folders(results: Path, *names: str) -> None:
    for name in names:
        (results / name).mkdir(parents=True)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


def extract(
    results: Path, output: Path | None, *, layout: Layout = JUMP, target: str = TARGET, dry_run: bool = False
) -> tuple[ExtractReport, list[str]]:
    """Run the step; its report, and what it said at verbosity 1."""
    said: list[str] = []
    report = extract_joblist(
        results,
        output=output,
        joblists=results.parent / "joblists",
        layout=layout,
        target=target,
        dry_run=dry_run,
        say=lambda message: said.append(str(message)) if message.detail <= 1 else None,
    )
    return report, said


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.glob("*.txt"))}


def make_source_8(results: Path) -> None:
    for batch, plates in {"J1": 52, "J2": 56, "J3": 56, "J4": 52}.items():
        for plate in range(plates):
            make_plate(results, "source_8", batch, f"A11{batch[1]}{plate:04d}")


def test_the_users_216_plates_give_the_transcript_of_the_users_notes(tmp_path):
    real = tmp_path / "volume" / "results"
    make_source_8(real)
    (tmp_path / "lustre").symlink_to("volume")  # the notes show real paths for linked ones
    output = tmp_path / "scripts" / "source08"
    output.parent.mkdir()

    report, said = extract(tmp_path / "lustre" / "results", output)

    assert "\n".join(said) == "\n".join(
        [
            f"💡 Valid input path: {real}",
            f"❗ The output path '{output}' does not exist.",
            f"💡 Creating output path: {output}",
            f"💡 Valid output path: {output}",
            "💡 Dry run: disabled",
            "💡 Verbosity level: 1",
            "💡 Found 1 source(s):",
            "  - source_8",
            "💡 Found 4 batch(es) for source 'source_8'.",
            "💡 Found 52 plate(s) for source 'source_8' in batch 'J1'.",
            "💡 Found 56 plate(s) for source 'source_8' in batch 'J2'.",
            "💡 Found 56 plate(s) for source 'source_8' in batch 'J3'.",
            "💡 Found 52 plate(s) for source 'source_8' in batch 'J4'.",
            "💡 Creating joblist in output directory.",
            "💡 Created 216 job(s).",
            "✅ Processing complete.",
        ]
    )
    assert len(report.created) == len(files_of(output)) == 216


def test_a_job_holds_its_status_its_real_source_and_its_target(tmp_path, results):
    plate = make_plate(results, "source_8", "J1", "A1170383")

    extract(results, tmp_path / "out", target="s3://bucket/below/")

    lines = (tmp_path / "out" / "source_8__J1__A1170383.txt").read_text().splitlines()
    key = "cpg0016-jump/source_8/workspace/segmentation/cellpose/objects/J1/A1170383"
    assert lines[:4] == ["todo", str(plate), f"target: s3://bucket/below/{key}", "---"]


def test_a_second_run_touches_nothing_and_says_so(tmp_path, results):
    make_plate(results, "source_8", "J1", "A")
    make_plate(results, "source_8", "J1", "B")
    extract(results, tmp_path / "out")
    edited = tmp_path / "out" / "source_8__J1__A.txt"
    edited.write_bytes(edited.read_bytes().replace(b"todo", b"success").replace(b"\n", b"\r\n"))
    before = files_of(tmp_path / "out")

    report, said = extract(results, tmp_path / "out")

    assert files_of(tmp_path / "out") == before
    assert (report.created, len(report.kept)) == ((), 2)
    assert said[:2] == [f"💡 Valid input path: {results}", f"💡 Valid output path: {tmp_path / 'out'}"]
    assert said[-4:] == [
        "💡 Creating joblist in output directory.",
        "💡 Created 0 job(s).",
        "💡 Kept 2 job(s) that were there.",
        "✅ Processing complete.",
    ]


def test_new_datasets_are_added_and_vanished_ones_reported(tmp_path, results):
    old, stays = make_plate(results, "source_8", "J1", "A"), make_plate(results, "source_8", "J1", "B")
    extract(results, tmp_path / "out")
    (old / "A.zarr").rmdir()
    old.rmdir()
    make_plate(results, "source_8", "J1", "C")

    report, said = extract(results, tmp_path / "out")

    assert report.created == ("source_8__J1__C",)
    assert report.kept == ("source_8__J1__B",)
    assert report.vanished == ("source_8__J1__A",)
    assert f"❗ The dataset of the job 'source_8__J1__A.txt' has vanished: {old}" in said
    assert stays.exists()
    assert len(files_of(tmp_path / "out")) == 3


def test_jobs_of_another_results_folder_are_not_called_vanished(tmp_path, results):
    make_folders(results, "a")
    make_folders(tmp_path / "more", "b")
    extract(results, tmp_path / "out", layout=folders(1))

    report, _ = extract(tmp_path / "more", tmp_path / "out", layout=folders(1))

    assert (report.created, report.vanished) == (("b",), ())


def test_a_plate_without_its_zarr_is_left_out_with_a_warning(tmp_path, results):
    make_plate(results, "source_8", "J1", "A")
    partial = make_plate(results, "source_8", "J1", "B")
    (partial / "B.zarr").rmdir()

    report, said = extract(results, tmp_path / "out")

    assert f"❗ Left out: {partial} lacks 'B.zarr'." in said
    assert "💡 Found 1 plate(s) for source 'source_8' in batch 'J1'." in said
    assert [skipped.path for skipped in report.skipped] == [partial]
    assert report.created == ("source_8__J1__A",)


def test_a_dry_run_says_what_would_be_made_and_writes_nothing(tmp_path, results):
    make_plate(results, "source_8", "J1", "A")

    report, said = extract(results, tmp_path / "out", dry_run=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]
    assert report.created == ("source_8__J1__A",)
    assert said[1:4] == [
        f"❗ The output path '{tmp_path / 'out'}' does not exist.",
        f"💡 Would create output path: {tmp_path / 'out'}",
        "💡 Dry run: enabled",
    ]
    assert said[-3:] == [
        "💡 Would create joblist in output directory.",
        "💡 Would create 1 job(s).",
        "✅ Processing complete.",
    ]


def test_folders_are_counted_in_the_same_words(tmp_path, results):
    make_folders(results, "b/x", "a/y", "a/x")

    _, said = extract(results, tmp_path / "out", layout=folders(2))

    assert said[6:9] == [
        "💡 Found 2 folder(s):\n  - a\n  - b",
        "💡 Found 2 folder(s) for folder 'a'.",
        "💡 Found 1 folder(s) for folder 'b'.",
    ]


def test_a_long_first_level_is_cut_short(tmp_path, results):
    make_folders(results, *(f"n{number:02d}" for number in range(23)))

    _, said = extract(results, tmp_path / "out", layout=folders(1))

    lines = said[6].splitlines()
    assert lines[0] == "💡 Found 23 folder(s):"
    assert lines[1] == "  - n00"
    assert lines[-1] == "  ... and 3 more"
    assert len(lines) == 22


@pytest.mark.parametrize(("sources", "name"), [(["source_8"], "source_8"), (["source_8", "source_9"], "results")])
def test_without_an_output_the_joblist_is_named_for_the_source_or_the_results(tmp_path, results, sources, name):
    for source in sources:
        make_plate(results, source, "J1", "A")

    report, _ = extract(results, None)

    assert report.joblist == tmp_path / "joblists" / name
    assert len(files_of(report.joblist)) == len(sources)


def assert_nothing_written(folder: Path) -> None:
    assert not folder.exists() or list(folder.iterdir()) == []


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
