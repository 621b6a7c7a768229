"""Workers of one joblist that agree on what each may send, over the joblist's own folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest

from bulkhaul.agreement import Agreement
from bulkhaul.errors import StorageError
from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.transfer.limits import UNLIMITED, Limits, Rates
from bulkhaul.transfer.terms import TransferOptions
from transfer.rig import MemoryEngine, connection_of

CONNECTION = connection_of(MemoryEngine())


@pytest.fixture
def joblist(tmp_path: Path) -> Joblist:
    joblist = Joblist(tmp_path)
    joblist.state_path().mkdir()
    return joblist


@pytest.fixture
def agreement(joblist: Joblist) -> Callable[..., Agreement]:
    """One more worker's; news a tenth of a second apart, silence of a second is death."""

    def make(limits: Rates = UNLIMITED, own: Rates = UNLIMITED) -> Agreement:
        options = TransferOptions(worker_limits=own, joblist_limits=limits)
        return Agreement(joblist, options, LeaseTimes(ttl=3, heartbeat=0.2))

    return make


def part(limits: Limits) -> float:
    with limits.held() as (limiter, _now):
        return limiter.part.requests


def wait_until(seen: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.01)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "agreement" in thread.name]


def test_without_limits_and_refusals_there_is_no_file_and_no_thread(
    agreement: Callable[..., Agreement], joblist: Joblist
) -> None:
    with agreement(own=Rates(1_000.0, inf)) as one, one.sending_to(CONNECTION):
        one.limits.take(1, gate=lambda: None)
        assert threads() == []
    assert list(joblist.state_path().iterdir()) == []


def test_a_limit_is_divided_among_those_that_send_and_comes_back_from_those_that_do_not(
    agreement: Callable[..., Agreement], joblist: Joblist
) -> None:
    with agreement(Rates(100.0, inf)) as one, agreement(Rates(100.0, inf)) as two:
        assert part(one.limits) == 0
        with one.sending_to(CONNECTION):
            wait_until(lambda: part(one.limits) == pytest.approx(100))
            with two.sending_to(CONNECTION):
                wait_until(lambda: part(one.limits) + part(two.limits) == pytest.approx(100) and part(two.limits) > 40)
            wait_until(lambda: part(one.limits) == pytest.approx(100))
            assert part(two.limits) == 0
    rates = joblist.state_path("rates")
    assert not rates.read_bytes().strip(b"\0")
    written = rates.stat().st_mtime_ns
    time.sleep(0.5)
    assert rates.stat().st_mtime_ns == written
    assert threads() == []


def test_an_idle_worker_does_nothing_in_the_joblist(agreement: Callable[..., Agreement], joblist: Joblist) -> None:
    with agreement(Rates(100.0, inf)) as one:
        with one.sending_to(CONNECTION):
            wait_until(lambda: part(one.limits) > 0)
        wait_until(lambda: part(one.limits) == 0)
        joblist.state_path("rates").unlink()
        time.sleep(0.5)
        assert list(joblist.state_path().iterdir()) == []
        with one.sending_to(CONNECTION):
            wait_until(lambda: part(one.limits) == pytest.approx(100))


@pytest.mark.slow
def test_a_worker_that_begins_keeps_to_the_cap_that_others_found(agreement: Callable[..., Agreement]) -> None:
    with agreement() as one, one.sending_to(CONNECTION), agreement() as two:
        for _ in range(200):
            one.limits.throttled()
            one.limits.succeeded()
            time.sleep(0.01)
        assert not two.limits.active
        with two.sending_to(CONNECTION):
            wait_until(lambda: two.limits.active)
        three = agreement()
        with three, three.sending_to(connection_of(MemoryEngine(), prefix="other/prefix")):
            wait_until(lambda: three.limits.active)


def test_a_file_that_cannot_be_kept_ends_the_wait_for_a_part_with_its_fault(
    agreement: Callable[..., Agreement], joblist: Joblist
) -> None:
    rates = joblist.state_path("rates")
    rates.mkdir()
    with agreement(Rates(100.0, inf)) as one, one.sending_to(CONNECTION):
        begun = time.monotonic()
        with pytest.raises(StorageError, match="rates"):
            one.limits.take(1, gate=lambda: None)
        assert time.monotonic() - begun >= 0.9
        rates.rmdir()
        wait_until(lambda: part(one.limits) > 0)
        one.limits.take(1, gate=lambda: None)
