"""Folders, job files and settings that cannot be used: one line each, the right code, nothing half-written."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable

import pytest

from e2e.bad_input import (
    CHECK,
    EXTRACT,
    SUMMARISE,
    TRANSFER,
    VERIFY,
    complaints,
    records,
    refused_in_json,
    state,
    the_complaint,
)
from e2e.lab import Lab, job_name, plate_folder
from e2e.oracle import assert_plates_arrived, plain_client, remote_keys
from e2e.poor_lab import PoorLab

pytestmark = pytest.mark.s3

# ------------------------------------------------------------------------------------------------- results folders


def _missing(_lab: Lab) -> None:
    pass


def _empty(lab: Lab) -> None:
    lab.results.mkdir()


def _a_file(lab: Lab) -> None:
    lab.results.write_text("no folder\n")


def _another_layout(lab: Lab) -> None:
    (lab.results / "plates" / "A0001").mkdir(parents=True)


def _no_whole_plate(lab: Lab) -> None:
    plate_folder(lab.results, batch="J1", plate="A0001").mkdir(parents=True)


def _one_name_twice(lab: Lab) -> None:
    for batch in ("J1", "J2"):
        (lab.results / batch / "A0001").mkdir(parents=True)
    site = 'layout = "site"\n[layouts.site]\npath = "{batch}/{plate}"\nname = "{plate}"\nkey = "{batch}/{plate}"\n'
    (lab.folder / "bulkhaul.toml").write_text(site)


def _one_key_twice(lab: Lab) -> None:
    _one_name_twice(lab)
    settings = lab.folder / "bulkhaul.toml"
    text = (
        settings.read_text()
        .replace('"{plate}"', '"{batch}__{plate}"')
        .replace('key = "{batch}/{plate}"', 'key = "{plate}"')
    )
    settings.write_text(text)


RESULTS: dict[str, tuple[Callable[[Lab], None], tuple[str, ...]]] = {
    "missing": (_missing, ("results", "No such file or directory", "check the path")),
    "empty": (_empty, ("results", "the folder is empty", "check the path")),
    "a file": (_a_file, ("results", "Not a directory", "check the path")),
    "another layout": (_another_layout, ("results", "'jump'", "matches nothing", "holds 'plates'", "the layout")),
    "no whole plate": (_no_whole_plate, ("A0001.zarr", "check the results")),
    "one name twice": (_one_name_twice, ("J1/A0001", "J2/A0001", "name", "layout")),
    "one key twice": (_one_key_twice, ("J1/A0001", "J2/A0001", "key", "layout")),
}


@pytest.mark.parametrize("case", RESULTS)
def test_results_without_jobs_are_one_line_and_no_joblist_is_made(lab: Lab, case: str) -> None:
    make, words = RESULTS[case]
    make(lab)
    command = (EXTRACT, "-i", lab.results, "-o", lab.joblist, "--target", lab.target)
    line = refused_in_json(lab, *command, expect=66)
    assert [word for word in words if word not in line] == [], line
    assert not lab.joblist.exists()


def test_without_a_results_folder_nothing_is_extracted(lab: Lab) -> None:
    assert the_complaint(lab.run(EXTRACT, expect=2)).startswith("results: not set; add `results = ...`")


def test_a_joblist_that_may_not_be_written_is_one_line_and_stays_as_it_is(poor_lab: PoorLab) -> None:
    lab = poor_lab
    lab.fill()
    before = state(lab.joblist)
    (lab.folder / "closed").mkdir(mode=0)
    for folder in (lab.folder, lab.joblist, *lab.joblist.rglob("*/")):
        folder.chmod(0o555)
    again = (EXTRACT, "-i", lab.results, "-o", lab.joblist, "--target", lab.target)
    elsewhere = (EXTRACT, "-i", lab.results, "-o", lab.folder / "new", "--target", lab.target)
    for command in (again, elsewhere, (TRANSFER, "-i", lab.joblist)):
        line = the_complaint(lab.run(*command, expect=74))
        assert "Permission denied; ask for the right to write there" in line
    assert not (lab.folder / "new").exists()
    line = the_complaint(lab.run(TRANSFER, "-i", lab.folder / "closed" / "jobs", expect=2))
    assert line.endswith("closed/jobs: Permission denied; check --input_path")
    assert "Total jobs: 2" in lab.run(SUMMARISE, "-i", lab.joblist)
    assert state(lab.joblist) == before
    assert remote_keys(plain_client(lab.env), lab.bucket) == []


def test_a_job_file_that_may_not_be_read_is_named_and_the_others_are_moved(poor_lab: PoorLab) -> None:
    lab = poor_lab
    lab.fill()
    hidden = lab.joblist / f"{job_name('A0001')}.txt"
    hidden.chmod(0)
    assert job_name("A0001") in the_complaint(lab.transfer(expect=65))
    assert "no right to read it" in lab.run(SUMMARISE, "-i", lab.joblist)
    hidden.chmod(0o644)
    assert lab.statuses() == {job_name("A0001"): "todo", job_name("A0002"): "success"}


# ------------------------------------------------------------------------------------------------- joblist folders


@pytest.mark.parametrize("case", ["missing", "empty", "a file", "not set"])
def test_a_joblist_that_is_none_is_one_line_of_each_step(lab: Lab, case: str) -> None:
    if case == "empty":
        lab.joblist.mkdir()
        (lab.joblist / ".notes.txt.swp").write_text("an editor's litter is no job\n")
    elif case == "a file":
        lab.joblist.write_text("todo\n")
    given = () if case == "not set" else ("-i", lab.joblist)
    words = {
        "missing": "no such joblist; check --input_path, or make it with `bulkhaul extract`",
        "empty": "it holds no job file; check --input_path, or make them with `bulkhaul extract`",
        "a file": "a joblist is a folder, this is none; check --input_path",
        "not set": "holds no joblist; make one with `bulkhaul extract`, or name one: --input_path DIR",
    }
    started = [lab.start(script, *given) for script in (CHECK, TRANSFER, VERIFY)]
    assert words[case] in refused_in_json(lab, SUMMARISE, *given, expect=2)
    for process in started:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 2, said
        assert words[case] in the_complaint(said)
    assert not (lab.joblist / ".bulkhaul").exists()


# ------------------------------------------------------------------------------------------------------- job files

DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "A0001": (lambda text: text[: text.index(b"\n---") + 2], "no `---` line ends its header (cut off?)"),
    "A0002": (lambda _: b"", "the job file is empty"),
    "A0003": (lambda text: text.replace(b"\n", b"\0", 1), "the job file holds binary data"),
    "A0004": (lambda text: text.replace(b"todo", b"tood", 1), "line 1 is 'tood', no status; write `todo` there"),
    "A0005": (lambda text: text.replace(b"/", b"", 1), "line 2 is not an absolute path"),
}


def test_damaged_job_files_are_named_and_left_and_the_others_are_moved(lab: Lab) -> None:
    lab.fill(plates=10)
    for plate, (damage, _) in DAMAGE.items():
        path = lab.joblist / f"{job_name(plate)}.txt"
        path.write_bytes(damage(path.read_bytes()))
    damaged = {job_name(plate): (lab.joblist / f"{job_name(plate)}.txt").read_bytes() for plate in DAMAGE}
    gone = plate_folder(lab.results, batch="J1", plate="A0006")
    gone.rename(lab.folder / "moved away")
    crlf, bom = (lab.joblist / f"{job_name(plate)}.txt" for plate in ("A0007", "A0008"))
    crlf.write_bytes(crlf.read_bytes().replace(b"\n", b"\r\n"))
    bom.write_bytes(codecs.BOM_UTF8 + bom.read_bytes().replace(b"todo", b"todo  "))

    typed = lab.joblist / f"{job_name('A0010')}.txt"  # a person wrote so, and no record proves it
    typed.write_bytes(typed.read_bytes().replace(b"todo", b"success", 1))

    reasons = {job_name(plate): reason for plate, (_, reason) in DAMAGE.items()} | {job_name("A0006"): str(gone)}
    assert_each_named(reasons, complaints(lab.run(CHECK, "-i", lab.joblist, expect=65)))
    assert_each_named(reasons, complaints(lab.transfer("--dry-run", expect=65)))
    assert records(lab.joblist) == []

    said = lab.transfer(expect=3)
    lines = complaints(said)
    assert len(lines) == 2, said
    assert job_name("A0006") in lines[0]
    assert str(gone) in lines[0]
    assert all(name in lines[1] for name in damaged), lines[1]
    assert f"status not proven: {job_name('A0010')}; `bulkhaul retry --unproven`" in said
    assert {name: (lab.joblist / f"{name}.txt").read_bytes() for name in damaged} == damaged
    statuses = lab.statuses()
    assert {name: word for name, word in statuses.items() if name not in damaged} == {
        job_name("A0006"): "error",
        **{job_name(plate): "success" for plate in ("A0007", "A0008", "A0009", "A0010")},
    }
    assert_plates_arrived(lab, "A0007", "A0008", "A0009")
    summary = json.loads(lab.run(SUMMARISE, "-i", lab.joblist, "--json"))
    counts = [summary[status] for status in ("total", "success", "error", "unproven", "invalid")]
    assert counts == [10, 3, 1, 1, 5]
    assert_each_named(reasons, [": ".join(one) for one in summary["error_jobs"] + summary["invalid_jobs"]])


def assert_each_named(reasons: dict[str, str], lines: list[str]) -> None:
    """Each job has one line of its own, with its reason."""
    assert len(lines) == len(reasons), "\n".join(lines)
    for name, reason in reasons.items():
        assert [line for line in lines if name in line and reason in line], f"{name}: {reason}\n" + "\n".join(lines)


def test_a_joblist_of_damaged_files_alone_ends_with_65(lab: Lab) -> None:
    lab.fill(plates=1)
    path = lab.joblist / f"{job_name('A0001')}.txt"
    path.write_bytes(b"\0\1\2")
    assert job_name("A0001") in the_complaint(lab.transfer(expect=65))
    assert path.read_bytes() == b"\0\1\2"
    assert records(lab.joblist) == []


# ------------------------------------------------------------------------------------------- settings and options

SETTINGS = {
    "unknown setting": ("lease_tll = 5\n", {}, (), ("lease_tll", "bulkhaul.toml", "`lease_ttl`")),
    "no TOML": ("target = s3://bucket\n", {}, (), ("bulkhaul.toml", "not valid TOML", "correct that line")),
    "bad value": ('sync_level = "fast"\n', {}, (), ("sync_level", "bulkhaul.toml", "'checksum'")),
    "bad variable": ("", {"BULKHAUL_MAX_CONCURRENCY": "many"}, (), ("max_concurrency", "env BULKHAUL_MAX_CONCURRENCY")),
    "no such file": (
        "",
        {"BULKHAUL_CONFIG": "/nowhere.toml"},
        (),
        ("/nowhere.toml", "no such settings file", "--config"),
    ),
    "unknown option": ("", {}, ("--speed", "9"), ("--speed", "--help")),
    "bad verbosity": ("", {}, ("-v", "4"), ("--verbosity", "3", "--help")),
    "bad value of an option": ("", {}, ("--engine", "fast"), ("engine (option)", "'obstore'")),
    "short lease": ("", {"BULKHAUL_LEASE_TTL": "1"}, (), ("lease of 1 s", "raise the lease")),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_what_is_set_wrongly_is_one_line_and_no_job_is_touched(lab: Lab, case: str) -> None:
    text, env, arguments, words = SETTINGS[case]
    lab.joblist.mkdir()
    source = lab.folder / "source"
    (lab.joblist / "a.txt").write_text(f"todo\n{source}\ntarget: {lab.target}/a\n---\n")
    (lab.folder / "bulkhaul.toml").write_text(text)
    before = state(lab.joblist)
    line = refused_in_json(lab, TRANSFER, "-i", lab.joblist, *arguments, expect=2, **env)
    assert [word for word in words if word not in line] == [], line
    assert state(lab.joblist) == before
    assert not (lab.joblist / ".bulkhaul").exists()
