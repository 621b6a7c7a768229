"""Which folders become jobs, what their files hold, what a second run adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkhaul.sources.layouts import folders
from extract.extracting import extract, files_of, make_folders

OBJECTS = "aggregated/broad/cellpainting-gallery/cpg0016-jump/{}/workspace/segmentation/cellpose/objects"


def make_plate(results: Path, source: str, batch: str, plate: str) -> Path:
    folder = results / OBJECTS.format(source) / batch / plate
    (folder / f"{plate}.zarr").mkdir(parents=True)
    return folder


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
