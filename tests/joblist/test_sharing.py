"""Who may write to a joblist: never everybody, whatever the umask; its group where the folder says so."""

from __future__ import annotations

import grp
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bulkhaul.errors import StorageError, UsageError
from bulkhaul.fsio import replace_file
from bulkhaul.joblist.doctor.findings import Finding, Level
from bulkhaul.joblist.doctor.trials import examine_folder
from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes
from bulkhaul.joblist.job import Owner
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.ledger import compact, new_record, publish, read_record
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.noticeboard import Noticeboard
from bulkhaul.joblist.sharing import share_folder
from bulkhaul.transfer.journal import Journal
from jobs_on_stub import make_jobs
from servers.stub_s3 import StubS3
from unprivileged import reachable_folder, run_unprivileged, without_coverage

TESTS = Path(__file__).parents[1]
_WORKER = """
import os, sys
os.umask(int(sys.argv[1], 8))
from pathlib import Path
from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.s3 import connection
from bulkhaul.s3.credentials import CredentialPool, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.token import Token
from bulkhaul.extract import extract_joblist
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.sources.layouts import folders
from bulkhaul.transfer.dataset import TransferOptions
from bulkhaul.transfer.limits import Rates
from bulkhaul.audit import verify_joblist
from bulkhaul.worker import transfer_joblist

_, _, place, url, key = sys.argv
joblist = Path(place, "deep", "er", "jobs")
Joblist(joblist, create=True).add("a", source=Path(place, "a"), target="s3://bucket/lab/a")
pool = CredentialPool(lambda _location: Grant(Token(key, "secret"), renewable=False))
options = S3Options(endpoint_url=url, region="us-east-1")
connect = lambda location: connection.connect(location, options=options, credentials=pool)
limits = Rates(requests=1000.0)
report = transfer_joblist(joblist, lease=LeaseTimes(3, 0.5), connect=connect, target_of=str,
                          options=TransferOptions(joblist_limits=limits))
assert report.exit_code == 0, report
assert verify_joblist(joblist, connect=connect, target_of=str).exit_code == 0
"""


def modes(folder: Path) -> dict[str, int]:
    """The mode of each entry below `folder`, and its own as `.`."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in (folder, *folder.rglob("*"))}


@pytest.mark.slow
@pytest.mark.parametrize(("umask", "file", "place"), [("000", 0o664, 0o775), ("022", 0o644, 0o755)])
def test_all_that_a_worker_leaves_is_writable_for_others_never_whatever_the_umask(
    tmp_path: Path, stub: StubS3, umask: str, file: int, place: int
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "data").write_text("a")
    key = stub.tokens.issue(None).access_key
    command = [sys.executable, "-c", _WORKER, umask, tmp_path, stub.url, key]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = modes(tmp_path / "deep")
    expected = {name: place if (tmp_path / "deep" / name).is_dir() else file for name in found}
    assert found == expected
    kinds = {"a.txt", "a.manifest.jsonl.gz", ".bulkhaul/rates", ".bulkhaul/lock/a.lock", ".bulkhaul/index"}
    assert {f"er/jobs/{kind}" for kind in kinds} <= found.keys()
    assert any("/log/" in name for name in found)
    assert any("/ledger/" in name for name in found)


def test_a_file_that_everybody_might_write_loses_that_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "job.txt"
    path.write_text("todo\n")
    for mode, kept in ((0o666, 0o664), (0o600, 0o600), (0o4777, 0o775)):
        path.chmod(mode)
        replace_file(path, b"ongoing\n")
        assert stat.S_IMODE(path.stat().st_mode) == kept


def link_to_victim(place: Path, folder: Path) -> Path:
    """Somebody who may write to the joblist has put a link to a file of ours where we write."""
    victim = folder / "victim"
    victim.write_text("precious")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(victim)
    return victim


def test_no_writer_follows_a_link_out_of_the_joblist(tmp_path: Path) -> None:
    victim = link_to_victim(tmp_path / "rates", tmp_path)
    with pytest.raises(StorageError):
        Noticeboard(tmp_path / "rates", silence=1).exchange(lambda _others, _known: "x")
    beat = Heartbeat(tmp_path / "rates", LeaseTimes(3, 0.5))
    with pytest.raises(StorageError):
        beat.renew()
    with pytest.raises(StorageError):
        Journal(tmp_path / "rates")
    assert victim.read_text() == "precious"
    replace_file(tmp_path / "rates", b"x")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "rates").is_symlink()


@pytest.mark.parametrize("name", ["../../victim", "..", "/etc/passwd", "", "a\0b"])
def test_a_record_whose_worker_is_no_file_name_is_one_of_an_unknown_owner(tmp_path: Path, name: str) -> None:
    """A take-over removes the dead worker's heartbeat: the name must not lead out of its folder."""
    joblist = make_jobs(tmp_path, "a")
    ledger = joblist.state_path("ledger")
    ledger.mkdir()
    owner = this_owner()
    assert publish(ledger, new_record("a", 1, owner, text="claimed"))
    path = ledger / "a.000001"
    values = json.loads(path.read_bytes())
    values["owner"]["worker"] = name
    path.write_text(json.dumps(values))
    found = read_record(ledger, "a", 1)
    assert found is not None
    assert found.owner.worker == "unknown-a-000001"
    with pytest.raises(ValueError, match="worker"):
        Owner.from_dict(values["owner"])


def test_a_group_shares_a_new_joblist_and_no_other(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    share_folder(tmp_path, group)
    assert stat.S_IMODE(tmp_path.stat().st_mode) & 0o2070 == 0o2070
    share_folder(tmp_path, group)
    with pytest.raises(UsageError, match="no such group"):
        share_folder(tmp_path, "nobody-has-this-name")
    (tmp_path / "unshared").mkdir(mode=0o755)
    (tmp_path / "unshared" / "job.txt").touch()
    (tmp_path / "unshared").chmod(0o755)
    with pytest.raises(UsageError, match="not shared") as refused:
        share_folder(tmp_path / "unshared", group)
    assert "chmod -R g+rwX" in refused.value.next_step


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be of no group")
def test_who_is_not_of_the_group_is_told_so_and_nothing_is_shared() -> None:
    program = """
import sys
from pathlib import Path
from bulkhaul.errors import BulkhaulError
from bulkhaul.joblist.sharing import share_folder
place = Path(sys.argv[1], "jobs")
place.mkdir(0o755)
try:
    share_folder(place, "users")
except BulkhaulError as error:
    print(type(error).__name__)
"""
    with reachable_folder() as folder:
        folder.chmod(0o777)
        done = run_unprivileged(program, folder)
        assert (done.stdout, done.stderr) == ("StorageError\n", "")
        assert stat.S_IMODE((folder / "jobs").stat().st_mode) == 0o755


def sharing_findings(folder: Path) -> list[Finding]:
    return [each for each in examine_folder(folder).findings if each.trial == "sharing"]


def test_doctor_warns_of_a_joblist_that_everybody_may_write_to(tmp_path: Path) -> None:
    state = tmp_path / ".bulkhaul"
    (state / "ledger").mkdir(parents=True)
    assert sharing_findings(tmp_path) == []
    (state / "ledger").chmod(0o777)
    (told,) = sharing_findings(tmp_path)
    assert told.level is Level.WARNING
    assert f"everybody on this machine may write to {state}/ledger" in told.text


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to a group that is not this user's")
def test_doctor_warns_of_a_group_that_may_write_and_does_not_get_what_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    folder.chmod(0o775)
    assert sharing_findings(folder) == [], "this user's own group, as with a umask of 002"
    os.chown(folder, -1, grp.getgrnam("users").gr_gid)
    (told,) = sharing_findings(folder)
    assert told.level is Level.WARNING
    assert "g+s" in told.text


@pytest.mark.skipif(
    os.geteuid() != 0 or Path("/proc/sys/fs/protected_hardlinks").read_text() != "1\n",
    reason="needs two users, and a kernel that protects hard links",
)
def test_records_of_another_user_that_we_may_not_write_stay_and_harm_nothing() -> None:
    program = """
import sys
from pathlib import Path
from bulkhaul.joblist.ledger import compact
compact(Path(sys.argv[1]), "a", 4)
"""
    with reachable_folder() as folder:
        folder.chmod(0o777)
        for generation in range(1, 5):
            assert publish(folder, new_record("a", generation, this_owner(), text=str(generation)))
            (folder / f"a.{generation:06d}").chmod(0o644)
        done = run_unprivileged(program, folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(path.name for path in folder.iterdir()) == [f"a.{number:06d}" for number in range(1, 5)]
        compact(folder, "a", 4)
        assert sorted(path.name for path in folder.iterdir()) == ["a.000001", "a.000003", "a.000004"]


def test_the_umask_follows_the_folders_mode(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from bulkhaul.joblist.sharing import follow_sharing
os.umask(int(sys.argv[2], 8))
follow_sharing(Path(sys.argv[1]))
print(oct(os.umask(0)))
"""

    def followed(mode: int, umask: str) -> str:
        tmp_path.chmod(mode)
        command = [sys.executable, "-c", program, str(tmp_path), umask]
        env = without_coverage(os.environ)
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()

    assert followed(0o2775, "077") == "0o7"
    assert followed(0o2775, "022") == "0o2"
    assert followed(0o2755, "022") == "0o22"
    assert followed(0o775, "022") == "0o22"
    assert followed(0o755, "000") == "0o2"
    assert Joblist(tmp_path).is_empty()
    tmp_path.chmod(0o700)
