from __future__ import annotations

import pytest

from bulkhaul.transfer.manifest import Outcome, Record, Verified
from bulkhaul.transfer.zarr import StandingMetadata, Withheld, depth, folders_above, is_metadata, marked


def sent(name: str) -> Record:
    return Record(name, Outcome.SENT, etag="e", verified=Verified.PUT)


@pytest.mark.parametrize("name", ["zarr.json", "a/.zarray", "a/b/.zattrs", ".zgroup", "a.zarr/.zmetadata"])
def test_metadata_is_known_by_its_name(name: str) -> None:
    assert is_metadata(name)


@pytest.mark.parametrize("name", ["zarr.json/c", "a/my.zarray", "zarr.jsonx", "x/.zarray/0"])
def test_chunks_are_no_metadata(name: str) -> None:
    assert not is_metadata(name)


def test_folders_lead_up_to_the_root() -> None:
    assert list(folders_above("a/b/c")) == ["a/b", "a", ""]
    assert list(folders_above("a/b/")) == ["a/b", "a", ""]
    assert list(folders_above("c")) == [""]
    assert [depth(name) for name in ("zarr.json", "a/zarr.json", "a/b/zarr.json")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("record", "withheld"),
    [
        (sent("a/b/0"), False),
        (Record("a/b/0", Outcome.FAILED, "vanished"), True),
        (Record("a/b/0", Outcome.SKIPPED, "symlink"), True),
        (Record("a/b/0", Outcome.SKIPPED, "same content", etag="e"), False),
        (Record("a/b/", Outcome.SKIPPED, "empty folder"), False),
        (Record("a/b/", Outcome.FAILED, "unreadable"), True),
    ],
)
def test_what_did_not_arrive_withholds_the_metadata_above_it_and_nothing_beside(record: Record, withheld: bool) -> None:
    blamed = Withheld()
    blamed.note(sent("z/0"))
    blamed.note(record)
    for name in ("a/b/zarr.json", "a/zarr.json", "zarr.json"):
        assert (blamed.reason(name) is not None) is withheld
    for name in ("a/c/zarr.json", "z/zarr.json", "a/b/c/zarr.json"):
        assert blamed.reason(name) is None


def test_the_reason_names_the_entry_to_blame() -> None:
    blamed = Withheld()
    blamed.note(Record("a/0", Outcome.FAILED, "no right to read"))
    assert blamed.reason("zarr.json") == "withheld: a/0 did not arrive"


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        # name, was it missing in S3
        ([("a/.zarray", False), ("a/0", True)], 1),
        ([("a/c/0", True), ("a/zarr.json", False)], 1),
        ([("a/.zarray", True), ("a/0", True)], 0),
        ([("a/.zarray", False), ("a/0", False)], 0),
        ([(".zgroup", False), ("a/.zarray", True), ("a/0", True)], 1),
        ([("a/.zarray", False), ("a/0", False), ("b/.zarray", True), ("b/0", True)], 0),
        ([("a/.zarray", False), ("a/0", False), ("ab/0", True)], 0),
        ([("a/c/0/0", True), ("a/zarr.json", False), ("b/c/0", True), ("b/zarr.json", False), ("zarr.json", False)], 3),
    ],
)
def test_metadata_that_stood_over_missing_files_is_noticed(plan: list[tuple[str, bool]], found: int) -> None:
    marks: list[Record] = []
    standing = StandingMetadata(marks.append)
    for name, missing in plan:
        standing.see(name, missing=missing)
    note = standing.end()
    assert (standing.count, note is not None) == (found, found > 0)
    assert len(marks) == found  # here each folder has one metadata file


def test_a_mark_joins_the_reason_once_and_leaves_a_failure_alone() -> None:
    mark = Record("zarr.json", Outcome.SKIPPED, "stood over missing files, the first 'c/0'")
    plain, same, lost = sent("zarr.json"), Record("zarr.json", Outcome.SKIPPED, "same content"), sent("c/0")
    failed = Record("zarr.json", Outcome.FAILED, "withheld: c/1 did not arrive")

    assert list(marked([lost, plain], [mark])) == [lost, plain._replace(reason=mark.reason)]
    [again] = marked([same], [mark])
    assert again.reason == f"same content; {mark.reason}"
    assert list(marked([again], [mark])) == [again]
    assert list(marked([failed], [mark])) == [failed]
    assert list(marked([plain], [])) == [plain]
