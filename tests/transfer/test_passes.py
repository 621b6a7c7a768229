"""Three passes over a dataset for what may be over later; a file system that stumbles, told one level below."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bulkhaul.errors import StorageError
from bulkhaul.s3.policy import RetryPolicy
from bulkhaul.transfer.dataset import TransferOptions
from bulkhaul.transfer.passes import PASSES
from bulkhaul.transfer.upload import STORM
from transfer.rig import MemoryEngine, Rig, write_tree

QUICK = TransferOptions(retry=RetryPolicy(first_pause=0.001, longest_pause=0.01))
READINGS = 2  # in each pass
Stumble = Callable[..., list[str]]


@pytest.fixture
def stumble(monkeypatch: pytest.MonkeyPatch) -> Stumble:
    """Make the first openings of each file below a folder (with a suffix) fail by an errno; tell which were opened."""
    opened: list[str] = []

    def begin(folder: Path, number: int, times: int, suffix: str = "") -> list[str]:
        real = os.open

        def fail_first(path: object, flags: int, *arguments: int, **named: int) -> int:
            if isinstance(path, str) and _is_below(path, folder, suffix) and not flags & os.O_DIRECTORY:
                opened.append(os.path.relpath(path, folder))
                if opened.count(opened[-1]) <= times:
                    raise OSError(number, os.strerror(number))
            return real(path, flags, *arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", fail_first)
        return opened

    return begin


def _is_below(path: str, folder: Path, suffix: str) -> bool:
    return path.startswith(f"{folder}/") and path.endswith(suffix)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_file_system_that_stumbles_costs_passes_and_no_file(
    rig: Rig, engine: MemoryEngine, stumble: Stumble, number: int
) -> None:
    write_tree(rig.source, {"a": b"1", "b": b"2"})
    rig.options = QUICK
    opened = stumble(rig.source, number, PASSES * READINGS - 1)
    report = rig.transfer()
    assert (report.ok, report.files_sent) == (True, 2)
    assert sorted(opened) == ["a"] * PASSES * READINGS + ["b"] * PASSES * READINGS
    assert sorted(engine.puts)[:2] == ["p/plate.manifest.jsonl.gz", "p/plate/a"]
    assert opened[: 2 * READINGS].count("a") == READINGS, "the others have their turn first"


def test_after_the_last_pass_it_is_the_files_error(rig: Rig, stumble: Stumble) -> None:
    write_tree(rig.source, {"a": b"1"})
    rig.options = QUICK
    opened = stumble(rig.source, errno.EIO, 10_000)
    report = rig.transfer()
    assert report.failures == (("a", os.strerror(errno.EIO)),)
    assert len(opened) == PASSES * READINGS


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT])
def test_a_fault_of_the_file_itself_has_one_pass(rig: Rig, stumble: Stumble, number: int) -> None:
    write_tree(rig.source, {"a": b"1", "b": b"2"})
    rig.options = QUICK
    opened = stumble(rig.source, number, 10_000)
    assert rig.transfer().files_failed == 2
    assert sorted(opened) == ["a", "b"]


def test_each_level_of_metadata_has_its_passes(rig: Rig, engine: MemoryEngine, stumble: Stumble) -> None:
    write_tree(rig.source, {"z/.zgroup": b"{}", "z/0/.zarray": b"{}", "z/0/0.0": b"1"})
    rig.options = QUICK
    opened = stumble(rig.source, errno.EIO, READINGS)
    assert rig.transfer().ok
    assert [key.removeprefix("p/plate/") for key in engine.puts[:3]] == ["z/0/0.0", "z/0/.zarray", "z/.zgroup"]
    assert len(opened) == 3 * (READINGS + 1)


def test_a_file_system_that_is_gone_ends_the_run_in_the_first_pass(rig: Rig, stumble: Stumble) -> None:
    write_tree(rig.source, {f"{number:03d}": b"x" for number in range(2 * STORM)})
    rig.options = QUICK
    opened = stumble(rig.source, errno.EIO, 10_000)
    with pytest.raises(Exception, match=os.strerror(errno.EIO)) as caught:
        rig.transfer()
    assert not isinstance(caught.value, StorageError), "the joblist's own storage is well"
    assert len(set(opened)) < 2 * STORM


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_many_files_that_never_pass_are_the_jobs_error_and_are_named(rig: Rig, stumble: Stumble, number: int) -> None:
    """In a later pass they are by themselves, so that they fail in a row: that says nothing of the others."""
    names = [f"{each:03d}.{'good' if each % 2 else 'bad'}" for each in range(4 * STORM)]
    write_tree(rig.source, dict.fromkeys(names, b"1"))
    rig.options = replace(QUICK, max_concurrency=1)
    stumble(rig.source, number, 10_000, ".bad")
    report = rig.transfer()
    assert (report.files_sent, report.files_failed) == (2 * STORM, 2 * STORM)
