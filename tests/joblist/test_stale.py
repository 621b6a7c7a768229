"""Files that another machine replaces between our open and our read, which NFS tells with ESTALE."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bulkhaul.errors import StorageError
from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes, read_heartbeat
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from joblist.standing_inputs import SHORT, go_on, make_job, write_ledger


def _stale() -> OSError:
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def _let_reads_fail(monkeypatch: pytest.MonkeyPatch, end: str, times: int) -> list[str]:
    """Reads of files whose path ends in `end` fail `times` times; the list of those that failed."""
    failed: list[str] = []
    real = os.read

    def read(fd: int, most: int) -> bytes:
        place = str(Path(f"/proc/self/fd/{fd}").readlink())
        if place.endswith(end) and len(failed) < times:
            failed.append(place)
            raise _stale()
        return real(fd, most)

    monkeypatch.setattr(os, "read", read)
    return failed


@pytest.mark.parametrize("end", ["/b.txt", "/b.000001"])
def test_a_file_that_was_replaced_after_it_was_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    joblist = Joblist(tmp_path, **SHORT)
    make_job(joblist, "b")
    write_ledger(joblist, "released", "b")
    failed = _let_reads_fail(monkeypatch, end, 2)
    with joblist.session(this_owner()) as session:
        claim = session.claim_next(go_on)
        assert claim is not None
        claim.release("for a test")
    assert len(failed) == 2


def test_a_file_that_stays_stale_is_an_error_of_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joblist = Joblist(tmp_path, **SHORT)
    make_job(joblist, "b")
    failed = _let_reads_fail(monkeypatch, "/b.txt", 99)
    with pytest.raises(StorageError, match=r"b\.txt"):
        list(joblist.iterate())
    assert len(failed) == 3


def test_a_heartbeat_that_was_replaced_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "worker"
    Heartbeat(path, LeaseTimes()).renew()
    content = path.read_bytes()
    answers = iter([_stale(), _stale()])
    real = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        for error in answers:
            raise error
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert read_heartbeat(path) == content
