"""Operations on the joblist, cut at each call: those of a fixed choice recover, and the judge sees what does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhaul.errors import StorageError
from faults.cutting import judge
from faults.cutting.tracing import Fault, joined, met
from faults.cutting.trials import find_cuts, quick_folder, try_cut
from faults.cutting.zygote import Zygote
from faults.figures import cuts


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))  # all four together are what is affordable at each change
def test_operations_that_are_cut_at_any_call_recover(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    figure = cuts.measure(tmp_path, amount=125, seed=seed)
    assert figure.failures == 0, capsys.readouterr().out
    assert figure.trials == 125
    assert figure.facts["cut points in all"] > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["extract", "extend", "scan", "retry"])
def test_a_folder_that_cannot_even_be_looked_at_is_a_fault_of_the_storage(tmp_path: Path, operation: str) -> None:
    with Zygote() as zygote, quick_folder(tmp_path) as quick:
        found = find_cuts(zygote, operation, quick / "found")
        looks = [cut for cut in found if cut.place in ("newfstatat JOBLIST", "newfstatat JOBLIST/.bulkhaul/ledger")]
        trials = [try_cut(zygote, cut, Fault.EIO, quick / str(number)) for number, cut in enumerate(looks)]
    assert [trial.wrong for trial in trials if trial.wrong] == []
    assert StorageError.exit_code in [trial.code for trial in trials]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "damage"), [("log in place", "a.txt is empty"), ("claim in steps", "a record that is none")]
)
def test_a_file_system_without_atomic_names_is_seen_by_the_judge(tmp_path: Path, operation: str, damage: str) -> None:
    with Zygote() as zygote, quick_folder(tmp_path) as quick:
        found = find_cuts(zygote, operation, quick / "found")
        writes = [cut for cut in found if cut.call == "write"]
        trials = [try_cut(zygote, cut, Fault.KILL, quick / str(number)) for number, cut in enumerate(writes)]
    assert [trial for trial in trials if damage in trial.wrong], trials


def test_a_call_that_another_thread_comes_between_is_seen_whole() -> None:
    broken = ['7 unlink("/j/a" <unfinished ...>', "7 <... unlink resumed>) = -1 EIO (Input/output error) (INJECTED)"]
    killed = ["7 close(3</j/a>) = 0", '7 unlink("/j/a" <unfinished ...>', "7 +++ killed by SIGKILL +++"]
    assert met(joined(broken), Fault.EIO, Path("/j")) == "unlink JOBLIST/a"
    assert met(joined(killed), Fault.KILL, Path("/j")) == "unlink JOBLIST/a"


OWNER, OTHER = {"token": "mine"}, {"token": "another's"}
SOUND = "success\n/data/a\ntarget: s3://bucket/a\n---\n[2026-11-21T10:00:03Z] claimed by node12\n"


def record(generation: int, *, kind: str = "claim", end: str | None = None, owner: object = OWNER) -> bytes:
    values = {"job": "a", "generation": generation, "kind": kind, "end": end, "owner": owner, "nonce": generation}
    return json.dumps(values).encode()


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    """A joblist with a job that is done, as docs/joblist-format.md has it."""
    (tmp_path / ".bulkhaul" / "ledger").mkdir(parents=True)
    (tmp_path / "a.txt").write_text(SOUND)
    put(tmp_path, 1, record(1))
    put(tmp_path, 2, record(2, kind="end", end="released"))
    put(tmp_path, 3, record(3))
    put(tmp_path, 4, record(4, kind="end", end="success"))
    return tmp_path


def put(joblist: Path, number: int, data: bytes) -> None:
    (joblist / ".bulkhaul" / "ledger" / f"a.{number:06d}").write_bytes(data)


def remove(joblist: Path, number: int) -> None:
    (joblist / ".bulkhaul" / "ledger" / f"a.{number:06d}").unlink()


def faults(joblist: Path) -> str:
    found = [*judge.faults_at_rest(joblist, ["a"]), *judge.faults_after_scan(joblist, ["a"])]
    return judge.first_of([*found, *judge.faults_when_done(joblist, ["a"])])


def compacted(joblist: Path, *gone: int) -> None:
    put(joblist, 1, record(3))
    for number in gone:
        remove(joblist, number)


@pytest.mark.parametrize("change", [lambda _: None, lambda place: compacted(place), lambda place: compacted(place, 2)])
def test_the_judge_takes_a_sound_joblist(joblist: Path, change: Callable[[Path], None]) -> None:
    change(joblist)
    assert faults(joblist) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda place: (place / "a.txt").write_text(""), "is empty"),
        (lambda place: (place / "a.txt").write_text(SOUND[:-9]), "cut off"),
        (lambda place: (place / "a.txt").write_text(SOUND.replace("---\n", "")), "no `---`"),
        (lambda place: (place / "a.txt").write_text(SOUND.replace("/data/a", "")), "source or target is gone"),
        (lambda place: (place / "a.txt").write_text(SOUND.replace("success", "done")), "line 1 is 'done'"),
        (lambda place: (place / "a.txt").write_text(SOUND.replace("success", "error")), "after a scan"),
        (lambda place: (place / "a.txt").write_text(SOUND + "half a li\n"), "the log has"),
        (lambda place: (place / "a.txt").unlink(), "the jobs are []"),
        (lambda place: remove(place, 1), "the first name is free"),
        (lambda place: remove(place, 3), "a gap"),
        (lambda place: remove(place, 4), "not done"),
        (lambda place: put(place, 3, b""), "none of its own"),
        (lambda place: put(place, 3, record(2)), "under other numbers"),
        (lambda place: put(place, 4, record(4, kind="end", end="success", owner=OTHER)), "not its owner's claim"),
        (lambda place: put(place, 3, record(3, kind="end", end="error")), "not its owner's claim"),
    ],
)
def test_the_judge_sees_what_is_damaged(joblist: Path, change: Callable[[Path], None], said: str) -> None:
    change(joblist)
    if (joblist / "a.txt").exists():
        assert said in faults(joblist)
    else:
        assert said in judge.first_of(judge.faults_at_rest(joblist, ["a"]))


def test_the_judge_sees_a_belief_that_is_wrong(joblist: Path) -> None:
    told = {"kind": "claim", "job": "a", "generation": 3}
    assert not list(judge.disbelieved(joblist, json.dumps(told)))
    assert list(judge.disbelieved(joblist, json.dumps(told | {"generation": 5})))


@pytest.mark.parametrize(
    ("code", "errors"),
    [
        (1, ""),
        (2, "❌ joblist: Input/output error; look at it\n"),
        (74, ""),
        (0, "❌ joblist: Input/output error; look at it\n"),
        (74, "❌ joblist: something; look at it\n"),
        (74, "❌ joblist: Input/output error; look at it\nTraceback (most recent call last):\n"),
    ],
)
def test_the_judge_sees_a_failure_that_ends_otherwise_than_by_one_line(code: int, errors: str) -> None:
    assert list(judge.bad_ends(code, errors, reason="Input/output error"))
    assert not list(judge.bad_ends(0, "", reason="Input/output error"))
    assert not list(judge.bad_ends(74, "❌ joblist: Input/output error; look at it\n", reason="Input/output error"))
