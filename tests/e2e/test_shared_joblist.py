"""One joblist of two users of a group: each claims, takes over and retries what the other made."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.lab import Lab, job_name, plate_folder, write_plate
from e2e.oracle import assert_plates_arrived
from e2e.poor_lab import PoorLab, poor_lab_on
from e2e.turnstile import amid_files, front_env
from servers.stub_s3 import StubS3

pytestmark = [
    pytest.mark.s3,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
    pytest.mark.parametrize("engine", ["obstore"]),
]

GROUP, GID = "users", 100
PLATES = ["A0001", "A0002"]


@dataclass(slots=True)
class User(PoorLab):
    """The same lab as one of its people sees it: a uid, its own umask, and the group that all have."""

    uid: int = 0
    umask: str = "022"

    def command(self, script: str, *arguments: object) -> list[str]:
        return [*self.become(), *Lab.command(self, script, *arguments)]

    def become(self) -> list[str]:
        """What runs the command behind it as this user."""
        user = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", f"--groups={GID}"]
        return ["sh", "-c", f'umask {self.umask}; exec "$@"', "sh", *user]

    def retry(self) -> None:
        command = [*self.become(), sys.executable, "-m", "bulkhaul", "retry", "-i", str(self.joblist)]
        subprocess.run(command, cwd=self.folder, env=dict(self.env), check=True, capture_output=True, timeout=60)


@pytest.fixture
def people(bucket: str, s3_env: Mapping[str, str], engine: str) -> Iterator[tuple[User, User]]:
    """Ann, who lets nobody read her files by default, and Bob; each cannot write what only the other may."""
    with poor_lab_on(bucket, {**s3_env, "BULKHAUL_ENGINE": engine}) as lab:
        both = [User(lab.folder, lab.bucket, lab.env, uid=uid, umask=umask) for uid, umask in ANN_AND_BOB]
        yield both[0], both[1]
        for user in both:
            user.close()


ANN_AND_BOB = [(65_001, "077"), (65_002, "022")]


def assert_shared(folder: Path) -> None:
    """All that is there belongs to the group, which may write it; nobody else may."""
    for path in (folder, *folder.rglob("*")):
        found = path.lstat()
        needed = 0o2070 if path.is_dir() else 0o060
        assert (found.st_gid, found.st_mode & needed) == (GID, needed), path
        assert not found.st_mode & stat.S_IWOTH, path


def test_two_users_share_a_joblist_and_work_on_each_others_jobs(people: tuple[User, User], front: StubS3) -> None:
    ann, bob = people
    for seed, plate in enumerate(PLATES):
        write_plate(plate_folder(ann.results, batch="J1", plate=plate), chunks=150, seed=seed)
    bad = plate_folder(ann.results, batch="J1", plate=PLATES[1]) / "back\\slash"
    bad.write_text("S3 would store another name")
    ann.run("01_extract_joblist.py", "-i", ann.results, "-o", ann.joblist, "--target", ann.target, "--group", GROUP)
    assert_shared(ann.joblist)

    held = amid_files(front, free=50)
    worker = bob.worker(**front_env(front))
    held.wait()
    held.kill(worker)
    taken = json.loads(ann.transfer("--json", expect=3, **front_env(front)))
    assert (taken["succeeded"], taken["failed"]) == ([job_name(PLATES[0])], [job_name(PLATES[1])])
    assert_shared(ann.joblist)

    bad.unlink()
    bob.retry()
    assert ann.statuses() == {job_name(PLATES[0]): "success", job_name(PLATES[1]): "todo"}
    done = json.loads(bob.transfer("--json", **front_env(front)))
    assert done["succeeded"] == [job_name(PLATES[1])]
    assert_shared(ann.joblist)
    assert_plates_arrived(ann, *PLATES)
    for user in people:
        assert "Success jobs: 2" in user.run("summarise_jobs.py", "-i", user.joblist)
        user.run("05_verify_transfer.py", "-i", user.joblist)
    ledger = ann.joblist / ".bulkhaul" / "ledger"
    assert len(list(ledger.iterdir())) <= 6, "compaction needs the right to link to the other's records"


def test_a_stranger_reads_at_most(people: tuple[User, User]) -> None:
    ann, bob = people
    write_plate(plate_folder(ann.results, batch="J1", plate=PLATES[0]), chunks=2, seed=0)
    ann.umask = "000"
    ann.run("01_extract_joblist.py", "-i", ann.results, "-o", ann.joblist, "--target", ann.target)
    assert not any(path.stat().st_mode & 0o002 for path in (ann.joblist, *ann.joblist.rglob("*")))
    said = bob.transfer(expect=74)
    assert "ask for the right to write there" in said
