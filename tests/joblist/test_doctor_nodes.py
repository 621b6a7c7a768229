"""What the doctor makes of the reports of an array's tasks; those of the other nodes lie there already."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from bulkhaul.joblist.doctor.findings import Finding, Findings, Level
from bulkhaul.joblist.doctor.nodes import try_between_nodes

PARTY = "98"
HERE = socket.gethostname()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the tasks of the array meet."""
    folder = tmp_path / ".bulkhaul" / "doctor" / PARTY
    folder.mkdir(parents=True)
    return folder


def report(place: Path, host: str, *, won: bool, lock: str) -> None:
    """The report of a task on `host`."""
    (place / f"{host}.1.abcd.json").write_text(json.dumps({"host": host, "won": won, "lock": lock}))


def examine(place: Path, *, expected: int) -> Findings:
    """What one more task finds; it wins the race unless `winner` is there."""
    folder = place.parents[2]
    return Findings(folder, tuple(try_between_nodes(folder, party=PARTY, expected=expected, wait=0.5)))


def found(findings: Findings, trial: str) -> Finding:
    (finding,) = [each for each in findings.findings if each.trial == trial]
    return finding


def test_tasks_that_were_seen_in_time_are_fine_with_their_nodes_by_name(place: Path) -> None:
    report(place, "node2", won=False, lock="busy")
    report(place, "node3", won=False, lock="busy")
    findings = examine(place, expected=3)
    assert [(each.trial, each.level) for each in findings.findings] == [
        ("nodes", Level.FINE),
        ("link between nodes", Level.FINE),
        ("flock between nodes", Level.FINE),
    ]
    seen = ", ".join(sorted([HERE, "node2", "node3"]))
    assert found(findings, "nodes").text == f"3 tasks on 3 nodes see each other: {seen}"
    assert (findings.mode, findings.exit_code) == ("ledger and locks", 0)


def test_too_few_tasks_are_a_warning_that_names_the_nodes_that_were_seen(place: Path) -> None:
    report(place, "node2", won=False, lock="busy")
    findings = examine(place, expected=4)
    seen = ", ".join(sorted([HERE, "node2"]))
    assert found(findings, "nodes") == Finding("nodes", Level.WARNING, f"only 2 of 4 tasks were seen in time: {seen}")
    assert (findings.fatal, findings.exit_code) == (False, 0)


def test_two_winners_of_one_race_by_link_are_the_end_of_it(place: Path) -> None:
    report(place, "node2", won=True, lock="held")  # which this task's own win shows to be one too many
    findings = examine(place, expected=2)
    assert found(findings, "link between nodes") == Finding(
        "link between nodes",
        Level.FATAL,
        "2 tasks won one race by link(2); put the joblist on another file system",
    )
    assert (findings.mode, findings.exit_code) == ("none: no joblist can live here, see above", 74)


@pytest.mark.parametrize("lock", ["held", "unavailable"])
def test_a_lock_that_does_not_exclude_between_nodes_leaves_the_ledger_alone(place: Path, lock: str) -> None:
    report(place, "node2", won=False, lock="busy")
    report(place, "node3", won=False, lock=lock)
    findings = examine(place, expected=3)
    assert found(findings, "flock between nodes") == Finding(
        "flock between nodes",
        Level.WARNING,
        "a lock does not exclude between nodes; the ledger alone keeps claims apart",
    )
    assert (findings.mode, findings.exit_code) == ("ledger alone", 0)


def test_a_task_that_lost_the_race_tries_the_lock_and_tells_what_it_saw(place: Path) -> None:
    (place / "winner").write_text("node2")
    report(place, "node2", won=True, lock="held")
    findings = examine(place, expected=2)
    (own,) = [json.loads(path.read_bytes()) for path in place.glob(f"{HERE}.*.json")]
    assert own == {"host": HERE, "won": False, "lock": "held"}, "nobody on node2 holds it"
    assert found(findings, "link between nodes").level is Level.FINE
    assert found(findings, "flock between nodes").level is Level.WARNING


def test_a_single_task_says_nothing_of_locks_between_nodes(place: Path) -> None:
    findings = examine(place, expected=2)
    assert [each.trial for each in findings.findings] == ["nodes", "link between nodes"]
