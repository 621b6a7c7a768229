from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul.errors import UsageError
from bulkhaul.sources.layouts import JUMP, Layout, fill, folders, segment_pattern, target_of

GALLERY = "/lustre/results/aggregated/broad/cellpainting-gallery"
PLATE = f"{GALLERY}/cpg0016-jump/source_8/workspace/segmentation/cellpose/objects/J1/A1"


def site(**changes: str | None) -> Layout:
    templates = {"path": "{a}/x/{b}", "job_name": "{a}__{b}", "key": "{a}/{b}", "requires": "{b}.zarr"} | changes
    return Layout(name="site", **templates)


@pytest.mark.parametrize(
    ("changes", "setting", "reason"),
    [
        pytest.param({"job_name": "{c}"}, "name", "no field {c}", id="unknown field in name"),
        pytest.param({"key": "k/{c}"}, "key", "no field {c}", id="unknown field in key"),
        pytest.param({"requires": "{c}.zarr"}, "requires", "no field {c}", id="unknown field in requires"),
        pytest.param({"path": "{a}/{b}/{a}"}, "path", "{a} stands there twice", id="field twice in path"),
        pytest.param({"path": "{a}{b}"}, "path", "two fields touch", id="fields touch"),
        pytest.param({"path": "{a}/{b"}, "path", "written {like_this}", id="brace left open"),
        pytest.param({"path": "a}/{b}"}, "path", "written {like_this}", id="brace never opened"),
        pytest.param({"path": "{}/{b}"}, "path", "written {like_this}", id="field without a name"),
        pytest.param({"path": "{a b}/{b}"}, "path", "written {like_this}", id="blank in a field"),
        pytest.param({"path": "{A}/{b}"}, "path", "written {like_this}", id="capital in a field"),
        pytest.param({"path": "/{a}/{b}"}, "path", "begins or ends with `/`", id="absolute path"),
        pytest.param({"path": "../{a}/{b}"}, "path", "`.` or `..`", id="path leaves the results"),
        pytest.param({"path": "{a}//{b}"}, "path", "empty", id="empty segment"),
        pytest.param({"path": ""}, "path", "empty", id="empty path"),
        pytest.param({"key": "{a}/{b}/"}, "key", "ends with `/`", id="key ends with a slash"),
        pytest.param({"key": ""}, "key", "empty", id="empty key"),
        pytest.param({"job_name": ""}, "name", "empty", id="empty name"),
        pytest.param({"job_name": "{a}/{b}"}, "name", "takes no `/`", id="slash in name"),
        pytest.param({"requires": "../{b}"}, "requires", "`.` or `..`", id="required entry outside"),
    ],
)
def test_a_layout_that_cannot_be_used_says_which_template_and_why(changes, setting, reason):
    with pytest.raises(UsageError) as caught:
        site(**changes)

    assert caught.value.thing == f"layout 'site', {setting}"
    assert reason in caught.value.reason


def test_a_layout_without_a_required_entry_is_fine():
    assert site(requires=None).requires is None


def test_the_levels_are_the_fields_of_the_name_in_the_order_of_the_path():
    assert JUMP.levels == ("source", "batch", "plate")
    assert site(job_name="{b}-{a}").levels == ("a", "b")


def test_folders_names_each_level_in_path_job_and_key():
    assert folders(1) == Layout(name="folders", path="{folder1}", job_name="{folder1}", key="{folder1}")
    layout = folders(2)
    assert (layout.path, layout.job_name, layout.key) == (
        "{folder1}/{folder2}",
        "{folder1}__{folder2}",
        "{folder1}/{folder2}",
    )


def test_folders_need_a_depth_of_one_or_more():
    with pytest.raises(UsageError, match="depth 0"):
        folders(0)


def test_values_are_filled_in_as_they_are_also_when_they_look_like_fields():
    assert fill("{a}/{b}.zarr", {"a": "{b}", "b": "\\1"}) == "{b}/\\1.zarr"


@pytest.mark.parametrize(
    ("segment", "name", "fields"),
    [
        ("{plate}", "A1", {"plate": "A1"}),
        ("{plate}", "two\nlines", {"plate": "two\nlines"}),
        ("{plate}", ".hidden", None),
        ("{plate}.zarr", "A1.zarr", {"plate": "A1"}),
        ("{plate}.zarr", "A1xzarr", None),
        ("{plate}.zarr", ".zarr", None),
        ("batch_{batch}_{plate}", "batch_J1_A_1", {"batch": "J1", "plate": "A_1"}),
        ("objects", "objects", {}),
        ("objects", "objects2", None),
        (".cache", ".cache", {}),
    ],
)
def test_a_segment_matches_whole_names_and_hidden_ones_only_when_told(segment, name, fields):
    match = segment_pattern(segment).fullmatch(name)

    assert (None if match is None else match.groupdict()) == fields


_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1).filter(
    lambda value: not value.startswith(".")
)


@given(st.fixed_dictionaries(dict.fromkeys(("stage", "project", "source", "model", "batch", "plate"), _VALUES)))
def test_the_target_of_an_old_job_is_that_of_a_new_one(fields):
    source = Path("/somewhere/else") / fill(JUMP.path, fields)

    assert target_of(JUMP, source, "s3://bucket/prefix") == f"s3://bucket/prefix/{fill(JUMP.key, fields)}"


@pytest.mark.parametrize("target", ["s3://bucket", "s3://bucket/"])
def test_the_users_plates_go_below_their_project(target):
    assert target_of(JUMP, Path(PLATE), target) == (
        "s3://bucket/cpg0016-jump/source_8/workspace/segmentation/cellpose/objects/J1/A1"
    )


@pytest.mark.parametrize("source", ["/J1/A1", PLATE.replace("workspace", "elsewhere"), f"{PLATE}/A1.zarr"])
def test_a_source_that_does_not_end_like_the_layout_has_no_target(source):
    with pytest.raises(UsageError, match="does not end like the layout 'jump'"):
        target_of(JUMP, Path(source), "s3://bucket")
