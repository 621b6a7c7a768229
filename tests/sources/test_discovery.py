from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import SourceError
from bulkhaul.sources.discovery import check_results_folder, find_datasets, nested_keys
from bulkhaul.sources.layouts import JUMP, Layout, folders
from unprivileged import reachable_folder, run_unprivileged

OBJECTS = "aggregated/broad/cellpainting-gallery/cpg0016-jump/{}/workspace/segmentation/cellpose/objects"


def make_plate(results: Path, source: str, batch: str, plate: str, *, whole: bool = True) -> Path:
    folder = results / OBJECTS.format(source) / batch / plate
    (folder / f"{plate}.zarr" if whole else folder).mkdir(parents=True)
    return folder


def names(layout: Layout, results: Path) -> list[str]:
    return [dataset.name for dataset in find_datasets(layout, results).datasets]


def test_plates_of_the_jump_layout_are_found_sorted_with_name_path_and_key(tmp_path):
    for source, batch, plate in [
        ("source_9", "J1", "B"),
        ("source_8", "J2", "A"),
        ("source_8", "J1", "B"),
        ("source_8", "J1", "A"),
    ]:
        make_plate(tmp_path, source, batch, plate)

    found = find_datasets(JUMP, tmp_path)

    assert [dataset.name for dataset in found.datasets] == [
        "source_8__J1__A",
        "source_8__J1__B",
        "source_8__J2__A",
        "source_9__J1__B",
    ]
    first = found.datasets[0]
    assert first.path == tmp_path / OBJECTS.format("source_8") / "J1" / "A"
    assert first.key == "cpg0016-jump/source_8/workspace/segmentation/cellpose/objects/J1/A"
    assert found.skipped == ()


def test_a_plate_without_its_zarr_is_skipped_with_the_reason(tmp_path):
    make_plate(tmp_path, "source_8", "J1", "A")
    partial = make_plate(tmp_path, "source_8", "J1", "B", whole=False)

    found = find_datasets(JUMP, tmp_path)

    assert [dataset.name for dataset in found.datasets] == ["source_8__J1__A"]
    assert [(skipped.path, skipped.reason) for skipped in found.skipped] == [(partial, "lacks 'B.zarr'")]


def test_a_plate_whose_zarr_is_a_link_is_skipped_since_no_link_is_sent(tmp_path):
    make_plate(tmp_path, "source_8", "J1", "A")
    linked = make_plate(tmp_path, "source_8", "J1", "B", whole=False)
    (tmp_path / "elsewhere.zarr").mkdir()
    (linked / "B.zarr").symlink_to(tmp_path / "elsewhere.zarr")

    found = find_datasets(JUMP, tmp_path)

    assert [dataset.name for dataset in found.datasets] == ["source_8__J1__A"]
    reason = "has a symlink in place of 'B.zarr', and links are not sent"
    assert [(skipped.path, skipped.reason) for skipped in found.skipped] == [(linked, reason)]


def test_what_the_layout_leaves_out_on_the_way_is_told(tmp_path):
    make_plate(tmp_path, "source_8", "J1", "A")
    objects = tmp_path / OBJECTS.format("source_8")
    (objects / "J2").mkdir()
    (objects / "notes.txt").touch()
    (objects / ".hidden").mkdir()
    (objects / "broken").symlink_to("nothing")
    (objects / "loop").symlink_to("loop")
    (tmp_path / OBJECTS.format("source_9")).parent.mkdir(parents=True)

    told = {skipped.path: skipped.reason for skipped in find_datasets(JUMP, tmp_path).skipped}

    assert told.pop(objects) == "holds entries that are no '{batch}' folder: '.hidden', 'broken', 'loop', 'notes.txt'"
    assert told.pop(objects / "J2") == "is empty"
    assert told.pop((tmp_path / OBJECTS.format("source_9")).parent) == "holds no folder 'objects'"
    assert told == {}


def test_folders_at_a_depth_are_named_by_their_relative_path(tmp_path):
    for folder in ("b/x", "a/y", "a/x/deeper"):
        (tmp_path / folder).mkdir(parents=True)

    assert names(folders(1), tmp_path) == ["a", "b"]
    found = find_datasets(folders(2), tmp_path)
    assert [(dataset.name, dataset.key) for dataset in found.datasets] == [
        ("a__x", "a/x"),
        ("a__y", "a/y"),
        ("b__x", "b/x"),
    ]


def test_the_results_may_be_reached_through_links_and_paths_are_the_real_ones(tmp_path):
    (tmp_path / "volume" / "A").mkdir(parents=True)
    (tmp_path / "results" / "B").mkdir(parents=True)
    (tmp_path / "results" / "A").symlink_to(tmp_path / "volume" / "A")
    (tmp_path / "link").symlink_to("results")

    found = find_datasets(folders(1), tmp_path / "link")

    assert found.results == tmp_path / "results"
    assert [(dataset.name, dataset.path) for dataset in found.datasets] == [
        ("A", tmp_path / "volume" / "A"),
        ("B", tmp_path / "results" / "B"),
    ]


def test_a_link_beside_the_folder_it_leads_to_is_no_second_dataset(tmp_path):
    (tmp_path / "run7").mkdir()
    (tmp_path / "latest").symlink_to("run7")

    found = find_datasets(folders(1), tmp_path)

    assert [dataset.name for dataset in found.datasets] == ["run7"]
    assert [str(skipped.path) for skipped in found.skipped] == [str(tmp_path / "latest")]
    assert found.skipped[0].reason == f"is the same folder as {tmp_path / 'run7'}"


def test_two_datasets_with_one_name_are_refused_with_both_paths(tmp_path):
    (tmp_path / "a" / "b__c").mkdir(parents=True)
    (tmp_path / "a__b" / "c").mkdir(parents=True)

    with pytest.raises(SourceError, match="share the job name 'a__b__c'") as caught:
        find_datasets(folders(2), tmp_path)

    assert caught.value.thing == f"{tmp_path / 'a' / 'b__c'} and {tmp_path / 'a__b' / 'c'}"


@pytest.mark.parametrize(
    ("key", "reason"), [("fixed", "share the key 'fixed'"), ("{a}", "share the key 'x'")], ids=["equal", "too short"]
)
def test_two_datasets_with_one_key_are_refused_with_both_paths(tmp_path, key, reason):
    for name in ("1", "2"):
        (tmp_path / "x" / name).mkdir(parents=True)
    layout = Layout(name="site", path="{a}/{b}", job_name="{a}-{b}", key=key)

    with pytest.raises(SourceError, match=re.escape(reason)) as caught:
        find_datasets(layout, tmp_path)

    assert caught.value.thing == f"{tmp_path / 'x' / '1'} and {tmp_path / 'x' / '2'}"


def test_a_layout_that_matches_nothing_says_where_it_stopped_and_what_is_there(tmp_path):
    place = tmp_path / "aggregated" / "broad"
    (place / "other-gallery").mkdir(parents=True)

    with pytest.raises(SourceError) as caught:
        find_datasets(JUMP, tmp_path)

    assert caught.value.thing == str(tmp_path)
    assert f"at 'cellpainting-gallery', {place} holds 'other-gallery'" in caught.value.reason


def test_many_names_are_cut_short_in_a_message(tmp_path):
    for number in range(9):
        (tmp_path / f"f{number}").touch()

    with pytest.raises(SourceError, match=re.escape("holds 'f0', 'f1', 'f2', 'f3', 'f4' and 4 more")):
        find_datasets(folders(1), tmp_path)


def test_results_in_which_no_plate_is_whole_are_refused(tmp_path):
    make_plate(tmp_path, "source_8", "J1", "A", whole=False)

    with pytest.raises(SourceError, match=r"lacks 'A\.zarr'"):
        find_datasets(JUMP, tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "No such file"), ("file", "Not a directory"), ("empty", "is empty"), ("loop", "symbolic links")],
)
def test_a_results_folder_that_holds_nothing_is_refused(tmp_path, name, reason):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(SourceError, match=reason) as caught:
        check_results_folder(tmp_path / name)

    assert caught.value.thing == str(tmp_path / name)
    assert caught.value.exit_code == 66


_FIND = """
import sys
from pathlib import Path
from bulkhaul.sources.discovery import find_datasets
from bulkhaul.sources.layouts import Layout
layout = Layout(name="site", path="{a}/{b}", job_name="{a}{b}", key="{a}/{b}", requires="in/it")
print(find_datasets(layout, Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("closed", "mode"), [(".", 0), ("b1", 0), ("b1/p1", 0), ("b1/p1", 0o111), ("b1/p1", 0o444), ("b1/p1/in", 0)]
)
def test_an_unreadable_folder_on_any_level_stops_the_search(closed, mode):
    with reachable_folder() as folder:
        for place in ("b1/p1", "b1/p2", "b2/p1"):
            (folder / place / "in" / "it").mkdir(parents=True)
        (folder / closed).chmod(mode)

        done = run_unprivileged(_FIND, folder)

    assert done.stdout == ""
    assert f"SourceError: {(folder / closed)}" in done.stderr
    assert "no right to read it" in done.stderr


_KEYS = st.lists(
    st.lists(st.sampled_from(["a", "b", "a b", "a0", "a-"]), min_size=1, max_size=3).map("/".join), max_size=8
)


@given(_KEYS)
def test_nested_keys_are_found_exactly_when_some_key_lies_within_another(keys):
    numbered = list(enumerate(keys))
    clash = any(
        first != second and f"{inner}/".startswith(f"{outer}/")
        for first, outer in numbered
        for second, inner in numbered
    )

    pairs = list(nested_keys((key, number) for number, key in numbered))

    assert bool(pairs) == clash
    assert all(f"{keys[inner]}/".startswith(f"{keys[outer]}/") for outer, inner in pairs)
