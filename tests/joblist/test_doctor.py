from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from bulkhaul.errors import UsageError
from bulkhaul.joblist.doctor.findings import Finding, Findings, Level
from bulkhaul.joblist.doctor.trials import examine_folder
from bulkhaul.joblist.mounts import mount_of, parse_mounts
from servers.disk import small_file_system

MOUNTS = parse_mounts(
    "/dev/sda1 / ext4 rw,relatime 0 0\n"
    "10.0.0.1@tcp:/scratch /lustre lustre rw,localflock,lazystatfs 0 0\n"
    "server:/home /home nfs4 rw,vers=4.2,noac,local_lock=none 0 0\n"
    "server:/old /old nfs rw,vers=3,nolock,local_lock=all 0 0\n"
    "me@host: /home/me/my\\040mount fuse.sshfs rw 0 0\n"
    "other / overlay rw 0 0\n"
)


@pytest.mark.parametrize(
    ("path", "kind", "options", "hopeless"),
    [
        ("/lustre/joblists", "lustre", ["localflock"], False),
        ("/home/ann", "nfs4", ["noac"], False),
        ("/old", "nfs", ["nolock", "local_lock=all"], False),
        ("/home/me/my mount/x", "fuse.sshfs", [], True),
        ("/var", "overlay", [], False),
    ],
)
def test_the_mount_of_a_folder_and_what_its_options_mean(
    path: str, kind: str, options: list[str], hopeless: bool
) -> None:
    mount = mount_of(Path(path), MOUNTS)
    assert mount is not None
    assert (mount.kind, [option for option, _ in mount.warnings], mount.hopeless) == (kind, options, hopeless)


def test_a_folder_here_passes_every_trial_and_nothing_is_left(tmp_path: Path) -> None:
    findings = examine_folder(tmp_path)
    assert [(item.trial, item.level) for item in findings.findings] == [
        (trial, Level.FINE) for trial in ("mount", "link", "exclusive", "rename", "flock")
    ]
    assert (findings.mode, findings.exit_code) == ("ledger and locks", 0)
    assert list(tmp_path.iterdir()) == []
    assert json.loads(json.dumps(findings.as_dict()))["mode"] == "ledger and locks"


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        examine_folder(tmp_path / "gone")


def test_locks_that_do_not_exclude_leave_the_ledger_alone() -> None:
    findings = Findings(Path("/x"), (Finding("flock", Level.WARNING, "two processes held one lock"),))
    assert (findings.mode, findings.fatal, findings.exit_code) == ("ledger alone", False, 0)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "disk", options="ro") as disk:
        findings = examine_folder(disk)
    assert findings.fatal
    assert "Read-only file system" in findings.findings[1].text


def test_the_tasks_of_an_array_try_each_other(tmp_path: Path) -> None:
    results: list[Findings] = []

    def task() -> None:
        results.append(examine_folder(tmp_path, party="98", expected=3, wait=30))

    tasks = [threading.Thread(target=task) for _ in range(3)]
    for one in tasks:
        one.start()
    for one in tasks:
        one.join()
    assert len(results) == 3
    for findings in results:
        between = {item.trial: item.level for item in findings.findings[5:]}
        assert between == {
            "nodes": Level.FINE,
            "link between nodes": Level.FINE,
            "flock between nodes": Level.FINE,
        }


def test_a_task_that_stays_away_is_reported(tmp_path: Path) -> None:
    findings = examine_folder(tmp_path, party="98", expected=2, wait=0.5)
    assert "only 1 of 2 tasks" in findings.findings[5].text
    assert not findings.fatal
