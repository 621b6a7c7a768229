from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bulkhaul.errors import StorageError
from bulkhaul.joblist.job import SlurmTask
from bulkhaul.joblist.ledger import (
    End,
    Kind,
    compact,
    is_newest,
    new_record,
    newest_numbers,
    newest_record,
    publish,
    record_path,
)
from bulkhaul.joblist.liveness import this_owner

OWNER = this_owner(SlurmTask("cluster", "98", "97", 3, 1))


def _publish(folder: Path, generation: int, **values: object) -> bool:
    return publish(folder, new_record("a", generation, OWNER, **values))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _grow(folder: Path, count: int) -> None:
    for generation in range(1, count):
        assert _publish(folder, generation)
    assert _publish(folder, count, end=End.SUCCESS)


def test_a_record_says_the_same_after_it_was_written(tmp_path: Path) -> None:
    record = new_record("a", 1, OWNER, end=End.ERROR, text="no such file", facts={"files": 3, "last": "\udcff"})
    assert publish(tmp_path, record)
    assert newest_record(tmp_path, "a") == record
    assert record.kind is Kind.END


def test_of_two_records_for_one_number_the_first_stays(tmp_path: Path) -> None:
    first, second = new_record("a", 1, OWNER), new_record("a", 1, OWNER)
    assert publish(tmp_path, first)
    assert not publish(tmp_path, second)
    assert newest_record(tmp_path, "a") == first
    assert is_newest(tmp_path, first)
    assert not is_newest(tmp_path, second)


def test_a_link_whose_answer_was_lost_counts_as_won(tmp_path: Path) -> None:
    record = new_record("a", 1, OWNER)
    assert publish(tmp_path, record)
    assert publish(tmp_path, record)


@pytest.mark.parametrize("hint", [0, 1, 2, 3, 4, 9])
@pytest.mark.parametrize("compacted", [False, True])
def test_the_newest_is_found_from_any_hint(tmp_path: Path, hint: int, compacted: bool) -> None:
    _grow(tmp_path, 4)
    if compacted:
        compact(tmp_path, "a", 4)
    found = newest_record(tmp_path, "a", hint=hint)
    assert found is not None
    assert (found.generation, found.end) == (4, End.SUCCESS)


def test_compaction_leaves_two_inodes(tmp_path: Path) -> None:
    _grow(tmp_path, 7)
    compact(tmp_path, "a", 7)
    assert _names(tmp_path) == ["a.000001", "a.000006", "a.000007"]
    assert len({path.stat().st_ino for path in tmp_path.iterdir()}) == 2


def test_compaction_can_be_repeated_and_the_ledger_goes_on(tmp_path: Path) -> None:
    _grow(tmp_path, 3)
    compact(tmp_path, "a", 3)
    compact(tmp_path, "a", 3)
    assert _publish(tmp_path, 4)
    assert _publish(tmp_path, 5, end=End.SUCCESS)
    compact(tmp_path, "a", 5)
    compact(tmp_path, "a", 3)  # a compaction that slept through all of this
    found = newest_record(tmp_path, "a")
    assert found is not None
    assert found.generation == 5
    assert newest_numbers(tmp_path) == {"a": 5}


@pytest.mark.parametrize("generation", [1, 2, 3, 4, 5])
def test_a_number_that_was_used_and_compacted_cannot_be_used_again(tmp_path: Path, generation: int) -> None:
    _grow(tmp_path, 6)
    compact(tmp_path, "a", 6)
    assert not _publish(tmp_path, generation)
    assert newest_numbers(tmp_path) == {"a": 6}
    assert _names(tmp_path) == ["a.000001", "a.000005", "a.000006"]


def test_names_that_share_a_beginning_have_ledgers_of_their_own(tmp_path: Path) -> None:
    for job in ("a", "a.000001", "a.b"):
        assert publish(tmp_path, new_record(job, 1, OWNER))
    assert publish(tmp_path, new_record("a", 2, OWNER))
    assert newest_numbers(tmp_path) == {"a": 2, "a.000001": 1, "a.b": 1}
    assert newest_numbers(tmp_path, "a.b") == {"a.b": 1}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"owner": 3}', b"\xff\xfe"])
def test_a_record_that_cannot_be_understood_counts_as_the_claim_of_an_unknown_owner(
    tmp_path: Path, data: bytes
) -> None:
    record_path(tmp_path, "a", 1).write_bytes(data)
    record = newest_record(tmp_path, "a")
    assert record is not None
    assert (record.kind, record.generation, record.owner.worker) == (Kind.CLAIM, 1, "unknown-a-000001")
    assert _publish(tmp_path, 2)


def test_a_record_of_a_newer_version_keeps_its_owner(tmp_path: Path) -> None:
    record = new_record("a", 1, OWNER)
    values = dataclasses.asdict(record)
    values["priority"] = values["owner"]["colour"] = values["owner"]["slurm"]["partition"] = "new"
    record_path(tmp_path, "a", 1).write_text(json.dumps(values))
    assert newest_record(tmp_path, "a") == record


def test_a_folder_that_is_gone_is_a_storage_error_and_not_an_empty_ledger(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        _publish(tmp_path / "gone", 1)
    assert caught.value.exit_code == 74


RACER = """
import sys
from pathlib import Path
from bulkhaul.joblist.ledger import new_record, newest_record, publish
from bulkhaul.joblist.liveness import this_owner
folder, owner = Path(sys.argv[1]), this_owner()
print("ready", flush=True)
sys.stdin.readline()
won = []
while (number := getattr(newest_record(folder, "a"), "generation", 0) + 1) < 100:
    if publish(folder, new_record("a", number, owner)):
        won.append(number)
print(*won)
"""


def test_four_processes_never_win_the_same_number(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = sorted(int(number) for racer in racers for number in racer.communicate()[0].split())
    assert won == list(range(1, 100))
    owners = {json.loads(record_path(tmp_path, "a", number).read_bytes())["owner"]["worker"] for number in won}
    assert len(owners) > 1, "they did not race"
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
