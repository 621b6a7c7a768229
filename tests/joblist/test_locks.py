from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.locks import Held, _lock_mode, file_lock
from joblist import refused_calls
from joblist.standing_inputs import line_1, make_job

refusing = pytest.mark.skipif(not refused_calls.possible(), reason="the call numbers of this machine are not known")


def _run_refused(call: str, number: str, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "joblist.refused_calls", call, number, code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_lock_excludes_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path, 0) as first, file_lock(path, 0) as second:
        assert (first, second) == (Held.YES, Held.BUSY)
    with file_lock(path, 0) as third:
        assert third is Held.YES


def test_where_no_proc_tells_the_umask_a_lock_is_its_makers_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_proc(path: Path, **_more: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", without_proc)
    _lock_mode.cache_clear()
    try:
        with file_lock(tmp_path / "lock", 0) as held:
            assert held is Held.YES
    finally:
        _lock_mode.cache_clear()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_that_cannot_be_made_is_unavailable_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with file_lock(tmp_path / "file" / "lock", 0) as held:
        assert held is Held.UNAVAILABLE


@refusing
@pytest.mark.parametrize("number", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_flock_still_runs_the_jobs(tmp_path: Path, number: str) -> None:
    make_job(Joblist(tmp_path))
    code = f"""
from pathlib import Path
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.locks import file_lock
with file_lock(Path({str(tmp_path)!r}) / "lock", 0) as held:
    print(held)
with Joblist(Path({str(tmp_path)!r})).session(this_owner()) as session:
    claim = session.claim_next(lambda: None)
    claim.log("x")
    claim.end(Status.SUCCESS, "all", facts={{}})
    assert session.claim_next(lambda: None) is None
"""
    assert _run_refused("flock", number, code) == "unavailable"
    assert line_1(Joblist(tmp_path)) == "success"


@refusing
@pytest.mark.parametrize(
    ("call", "number", "mode", "fatal"),
    [
        ("flock", "ENOSYS", "ledger alone", []),
        ("link", "EPERM", "none: no joblist can live here, see above", ["link"]),
        ("link", "ENOSYS", "none: no joblist can live here, see above", ["link"]),
    ],
)
def test_the_doctor_tells_what_a_file_system_lacks(
    tmp_path: Path, call: str, number: str, mode: str, fatal: list[str]
) -> None:
    code = f"""
from pathlib import Path
from bulkhaul.joblist.doctor.trials import examine_folder
findings = examine_folder(Path({str(tmp_path)!r}))
print([findings.mode, [item.trial for item in findings.findings if item.fatal]])
"""
    assert _run_refused(call, number, code) == str([mode, fatal])
    assert list(tmp_path.iterdir()) == []
