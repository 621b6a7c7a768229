"""The transcripts of the users' own notes, word for word, typed as they type them: 216 plates of four batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.lab import Lab, plate_folder, write_plate
from e2e.oracle import assert_plates_arrived

BATCHES = {"J1": 52, "J2": 56, "J3": 56, "J4": 52}


@pytest.fixture
def notes(lab: Lab) -> Lab:
    """A lab whose results are reached through a symlink, as `/lustre` was through `/ictstr01`."""
    real = lab.folder / "ictstr01"
    real.mkdir()
    (lab.folder / "lustre").symlink_to(real)
    for batch, count in BATCHES.items():
        for number in range(count):
            folder = plate_folder(real / "results", batch=batch, plate=f"A{1170383 + number}")
            (folder / f"{folder.name}.zarr").mkdir(parents=True)
    return lab


def extracted(lab: Lab) -> str:
    return f"""\
💡 Valid input path: {lab.folder}/ictstr01/results
❗ The output path '{lab.folder}/source08' does not exist.
💡 Creating output path: {lab.folder}/source08
💡 Valid output path: {lab.folder}/source08
💡 Dry run: disabled
💡 Verbosity level: 1
💡 Found 1 source(s):
  - source_8
💡 Found 4 batch(es) for source 'source_8'.
💡 Found 52 plate(s) for source 'source_8' in batch 'J1'.
💡 Found 56 plate(s) for source 'source_8' in batch 'J2'.
💡 Found 56 plate(s) for source 'source_8' in batch 'J3'.
💡 Found 52 plate(s) for source 'source_8' in batch 'J4'.
💡 Creating joblist in output directory.
💡 Created 216 job(s).
✅ Processing complete.
"""


@pytest.mark.parametrize("script", ["01_extract_joblist.py", "01_extract_joblist_from_results_folder.py"])
def test_extract_and_summarise_say_what_the_notes_say(notes: Lab, script: str) -> None:
    options = ["--input_path", notes.folder / "lustre" / "results", "--output_path", "./source08", "--verbosity", "1"]
    output = notes.run(script, *options, BULKHAUL_TARGET=notes.target)
    assert output == extracted(notes)
    assert len(list((notes.folder / "source08").glob("*.txt"))) == 216
    assert (
        notes.run("summarise_jobs.py", "-i", "./source08")
        == f"""\
💡 Valid input path: {notes.folder}/source08
💡 Dry run: disabled
💡 Verbosity level: 1
💡 Found 216 job file(s).
💡 Total jobs: 216
💡 Todo jobs: 216
💡 Ongoing jobs: 0
✅ Success jobs: 0
❌ Error jobs: 0
"""
    )


def test_transfer_begins_with_the_lines_of_the_notes(lab: Lab) -> None:
    source = plate_folder(lab.results, batch="J1", plate="A1170383")
    write_plate(source, chunks=20, seed=1)
    lab.extract()
    lines = lab.run("04_transfer_plates.py", "--input_path", "./source08", "--verbosity", "1").splitlines()
    joblist = f"{lab.folder}/source08"
    assert lines[:5] == [
        f"💡 Valid input path: {joblist}",
        "💡 Dry run: disabled",
        "💡 Verbosity level: 1",
        f"💡 Found 1 job file(s) in '{joblist}'.",
        "💡 Scanning for 'todo' status...",
    ]
    found = lines.index("💡 Found 'todo' job: source_8__J1__A1170383.txt")
    assert lines[found + 1] == f"💡 Uploading files from '{source}' to S3..."
    assert_plates_arrived(lab, "A1170383")


def test_transfer_of_the_notes_joblist_begins_with_their_lines(notes: Lab) -> None:
    options = ["--input_path", notes.folder / "lustre" / "results", "--output_path", "./source08"]
    notes.run("01_extract_joblist_from_results_folder.py", *options, "--target", notes.target)
    worker = notes.start("04_transfer_plates.py", "--input_path", "./source08", "--verbosity", "1")
    assert worker.stdout is not None
    said = [worker.stdout.readline().rstrip("\n") for _ in range(7)]
    joblist = f"{notes.folder}/source08"
    assert said[:5] == [
        f"💡 Valid input path: {joblist}",
        "💡 Dry run: disabled",
        "💡 Verbosity level: 1",
        f"💡 Found 216 job file(s) in '{joblist}'.",
        "💡 Scanning for 'todo' status...",
    ]
    claimed = said[5].removeprefix("💡 Found 'todo' job: ").removesuffix(".txt")
    assert (notes.joblist / f"{claimed}.txt").exists()
    source = (notes.joblist / f"{claimed}.txt").read_text().splitlines()[1]
    assert said[6] == f"💡 Uploading files from '{source}' to S3..."


@pytest.mark.parametrize("verbosity", [0, 1, 2, 3])
def test_verbosity_changes_what_is_said_and_nothing_else(lab: Lab, verbosity: int) -> None:
    write_plate(plate_folder(lab.results, batch="J1", plate="A1"), chunks=3, seed=1)
    lab.run("01_extract_joblist.py", "-i", lab.results, "-o", lab.joblist, "--target", lab.target, "-v", verbosity)
    output = lab.run("04_transfer_plates.py", "-i", lab.joblist, "-v", verbosity)
    assert lab.statuses() == {"source_8__J1__A1": "success"}
    assert (output == "") == (verbosity == 0)
    assert_plates_arrived(lab, "A1")


def job_text(folder: Path) -> str:
    return next(folder.glob("*.txt")).read_text()


def test_without_a_target_the_notes_command_still_makes_the_joblist(notes: Lab) -> None:
    options = ["--input_path", notes.folder / "lustre" / "results", "--output_path", "./source08", "--verbosity", "1"]
    assert notes.run("01_extract_joblist_from_results_folder.py", *options).startswith(extracted(notes)[:200])
    assert len(job_text(notes.folder / "source08").splitlines()) == 3
