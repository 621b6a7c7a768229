from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bulkhaul.errors import StorageError, UsageError
from bulkhaul.joblist.claiming import Claimer
from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes, Progress, read_heartbeat, read_progress
from bulkhaul.joblist.job import Owner
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import Observer, Sign, process_gone, this_owner
from bulkhaul.joblist.locks import file_lock
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import far_owner, make_job

TTL = 180.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def nobody_gone(_owner: Owner) -> bool:
    return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Watched:
    """An owner on another machine and somebody who watches it."""

    def __init__(self, paths: JoblistPaths, clock: Clock) -> None:
        self.owner = far_owner()
        self.clock = clock
        self.observer = Observer(paths, TTL, nobody_gone, clock=clock)
        self.beats = Heartbeat(paths.heartbeat(self.owner.worker), LeaseTimes(TTL, 20), clock=clock)

    def look_each(self, seconds: float, times: int) -> list[Sign]:
        signs = []
        for _ in range(times):
            self.clock.now += seconds
            signs.append(self.observer.look(self.owner))
        return signs


@pytest.fixture
def watched(paths: JoblistPaths, clock: Clock) -> Watched:
    return Watched(paths, clock)


def test_an_owner_is_dead_after_a_whole_lease_of_the_same_content_and_not_before(watched: Watched) -> None:
    watched.beats.renew()
    watched.observer.look(watched.owner)
    assert watched.look_each(20, 8) == [Sign.SILENT] * 8
    assert watched.look_each(20, 1) == [Sign.DEAD]


def test_one_change_makes_an_owner_alive_and_starts_the_lease_anew(watched: Watched) -> None:
    watched.beats.renew()
    watched.observer.look(watched.owner)
    watched.look_each(20, 8)
    watched.beats.renew()
    assert watched.look_each(20, 9) == [*[Sign.ALIVE] * 3, *[Sign.SILENT] * 6]
    assert watched.look_each(20, 1) == [Sign.DEAD]


def test_who_was_seen_alive_and_then_missed_a_beat_is_not_known_to_live(watched: Watched) -> None:
    # Else the last worker goes home and leaves the job of a node that was lost a minute ago.
    watched.observer.look(watched.owner)
    watched.beats.renew()
    assert watched.look_each(59, 1) == [Sign.ALIVE]
    assert watched.look_each(59, 1) == [Sign.ALIVE]
    assert watched.look_each(1, 1) == [Sign.SILENT]
    watched.beats.renew()
    assert watched.look_each(1, 1) == [Sign.ALIVE]


def test_a_late_look_concludes_nothing(watched: Watched) -> None:
    # The file system or this process stood still: every owner would look dead at once.
    watched.beats.renew()
    watched.observer.look(watched.owner)
    assert watched.look_each(10 * TTL, 1) == [Sign.SILENT]
    assert watched.look_each(61, 5) == [Sign.SILENT] * 5
    assert watched.look_each(20, 9) == [*[Sign.SILENT] * 8, Sign.DEAD]


def test_who_was_found_dead_stays_so_until_the_file_changes(watched: Watched) -> None:
    # Else one that takes over job after job of a lost node would wait a whole lease before each.
    watched.beats.renew()
    watched.observer.look(watched.owner)
    assert watched.look_each(20, 9)[-1] is Sign.DEAD
    assert watched.look_each(10 * TTL, 1) == [Sign.DEAD]
    watched.beats.renew()
    assert watched.look_each(10 * TTL, 1) == [Sign.SILENT]


def test_four_reads_are_the_least(paths: JoblistPaths, clock: Clock) -> None:
    watched = Watched(paths, clock)
    watched.observer.look(watched.owner)
    assert watched.look_each(TTL / 3, 3) == [Sign.SILENT, Sign.SILENT, Sign.DEAD]


def test_an_owner_without_a_heartbeat_file_expires_like_a_silent_one(watched: Watched) -> None:
    watched.observer.look(watched.owner)
    assert watched.look_each(20, 9)[-1] is Sign.DEAD


def test_who_is_proven_gone_is_dead_at_once(paths: JoblistPaths) -> None:
    observer = Observer(paths, TTL, lambda _owner: True)
    assert observer.look(far_owner()) is Sign.DEAD


def test_an_unreadable_heartbeat_proves_nothing(paths: JoblistPaths, watched: Watched) -> None:
    paths.heartbeat(watched.owner.worker).mkdir()
    with pytest.raises(StorageError):
        watched.observer.look(watched.owner)


def test_an_owner_is_stale_after_two_thirds_of_its_lease(paths: JoblistPaths, clock: Clock) -> None:
    heartbeat = Heartbeat(paths.heartbeat("w"), LeaseTimes(TTL, 20), clock=clock)
    assert not heartbeat.fresh()
    heartbeat.renew()
    clock.now += 120
    assert heartbeat.fresh()
    clock.now += 1
    assert not heartbeat.fresh()


def test_a_beat_counts_only_after_the_look_at_the_ledger(paths: JoblistPaths, clock: Clock) -> None:
    heartbeat = Heartbeat(paths.heartbeat("w"), LeaseTimes(TTL, 20), clock=clock)

    def unreadable() -> None:
        raise StorageError("ledger", "I/O error", "wait")

    heartbeat.carry(Progress("a", 1), unreadable)
    with pytest.raises(StorageError):
        heartbeat.renew()
    assert not heartbeat.fresh()


def _changes(path: Path, before: bytes, *, within: float) -> bool:
    until = time.monotonic() + within
    while (changed := read_heartbeat(path) != before) is False and time.monotonic() < until:
        time.sleep(0.01)
    return changed


def test_a_worker_beats_while_it_holds_a_job(paths: JoblistPaths) -> None:
    path = paths.heartbeat("w")
    heartbeat = Heartbeat(path, LeaseTimes(0.3, 0.05))
    heartbeat.start()
    try:
        first = read_heartbeat(path)
        assert first, "one beat at its start"
        assert not _changes(path, first, within=0.5)
        heartbeat.carry(Progress("a", 1), None)
        assert _changes(path, first, within=30)
        heartbeat.carry(None, None)
        until = time.monotonic() + 30
        while _changes(path, read_heartbeat(path), within=0.5):
            assert time.monotonic() < until, "one beat may be under way, no more"
    finally:
        heartbeat.stop(remove=True)


def _claimer(paths: JoblistPaths, clock: Clock) -> tuple[Claimer, Heartbeat, Path]:
    """A worker without a thread that beats, on a joblist with the jobs `a` and `b`."""
    for name in "ab":
        make_job(Joblist(paths.folder), name)
    owner = this_owner()
    heartbeat = Heartbeat(paths.heartbeat(owner.worker), LeaseTimes(TTL, 20), clock=clock)
    heartbeat.renew()
    observer = Observer(paths, TTL, nobody_gone, clock=clock)
    claimer = Claimer(paths, owner, lock=file_lock, heartbeat=heartbeat, observer=observer)
    return claimer, heartbeat, paths.heartbeat(owner.worker)


def test_who_waited_until_its_next_beat_might_be_late_beats_before_it_claims(paths: JoblistPaths, clock: Clock) -> None:
    claimer, heartbeat, path = _claimer(paths, clock)
    first = read_heartbeat(path)
    clock.now += 100
    assert claimer.claim("a")
    assert read_heartbeat(path) == first, "the last beat is good"
    claimer.give_up()
    clock.now += 1
    assert claimer.claim("b")
    assert read_heartbeat(path) != first
    assert heartbeat.fresh()


def test_who_cannot_beat_claims_nothing(paths: JoblistPaths, clock: Clock) -> None:
    claimer, _, path = _claimer(paths, clock)
    path.unlink()
    path.mkdir()
    clock.now += 121
    with pytest.raises(StorageError):
        claimer.claim("a")
    assert list(paths.ledger.iterdir()) == []


def test_the_file_carries_the_progress_in_one_block_however_long_the_name(paths: JoblistPaths) -> None:
    path = paths.heartbeat("w")
    heartbeat = Heartbeat(path, LeaseTimes())
    heartbeat.carry(Progress("j" * 200, 7), None)
    heartbeat.note(Progress("j" * 200, 7, files=3, bytes=4096, last="x" * 5000 + "/é\udcff/.zarray"))
    heartbeat.note(Progress("another", 7, files=9, bytes=9, last="of a claim that is over"))
    heartbeat.renew()
    sizes = {path.stat().st_size}
    progress = read_progress(path)
    assert progress is not None
    assert (progress.generation, progress.files, progress.bytes) == (7, 3, 4096)
    assert progress.last.endswith("/é\udcff/.zarray")
    heartbeat.carry(None, None)
    heartbeat.renew()
    assert sizes == {path.stat().st_size}
    assert read_progress(path) is None
    assert read_heartbeat(paths.heartbeat("nobody")) == b""


@pytest.mark.parametrize(("ttl", "beat"), [(180, 0), (180, 61), (59, 20), (10, -1)])
def test_a_lease_must_hold_three_beats(ttl: float, beat: float) -> None:
    with pytest.raises(UsageError):
        LeaseTimes(ttl, beat)


def _child() -> tuple[subprocess.Popen[str], Owner]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True)
    start = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
    return child, dataclasses.replace(this_owner(), pid=child.pid, pid_start=start)


def test_a_process_is_gone_only_when_it_is() -> None:
    child, owner = _child()
    assert not process_gone(owner)
    os.kill(child.pid, signal.SIGSTOP)
    assert not process_gone(owner)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_gone(owner), "a zombie counts as gone"
    child.communicate()
    assert process_gone(owner)


def test_another_process_under_the_same_number_is_not_the_owner() -> None:
    assert process_gone(dataclasses.replace(this_owner(), pid_start=1))


@pytest.mark.parametrize("field", ["host", "boot_id", "pid_namespace"])
def test_nothing_is_proven_from_another_machine_boot_or_container(field: str) -> None:
    gone = dataclasses.replace(this_owner(), pid=2**22 + 1)
    assert process_gone(gone)
    assert not process_gone(dataclasses.replace(gone, **{field: "another"}))


def test_every_owner_is_a_new_one_with_a_safe_file_name() -> None:
    first, second = this_owner(), this_owner()
    assert first.worker != second.worker
    assert first.token != second.token
    assert first.worker.replace("-", "").isalnum()
