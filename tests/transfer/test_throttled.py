"""One dataset to a server that refuses what comes faster than it allows, over real HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest

from bulkhaul.errors import Stopped
from bulkhaul.s3.token import Token
from bulkhaul.transfer.limits import Rates
from bulkhaul.transfer.senders import Senders
from bulkhaul.transfer.terms import TransferOptions
from servers.stub import script
from servers.stub_s3 import StubS3
from servers.throttle import Throttle
from transfer.real import MIB, SMALL_PARTS, real_connection
from transfer.rig import NOTICED, Rig, write_tree

RATE = 60


@pytest.fixture
def stub() -> Iterator[StubS3]:
    with StubS3() as stub:
        stub.store.make_bucket("bucket")
        yield stub


@pytest.fixture
def make_rig(stub: StubS3, tmp_path: Path) -> Callable[..., Rig]:
    """A rig over HTTP to the stub, with the options given; `senders` are processes to send through."""
    token = stub.tokens.issue(None)
    keys = Token(token.access_key, token.secret_key, token.session_token)

    def make(senders: Senders | None = None, **options: object) -> Rig:
        connection = real_connection(stub.url, "bucket", "obstore", keys)
        more = {} if senders is None else {"senders": senders}
        return Rig(tmp_path, connection, TransferOptions(manifest_upload=False, **options), **more)  # type: ignore[arg-type]

    return make


def write_files(rig: Rig, count: int, size: int = 100) -> None:
    write_tree(rig.source, {f"{number // 100}/{number}": bytes(size) for number in range(count)})


@pytest.mark.slow
@pytest.mark.parametrize("processes", [0, 2])
def test_a_worker_reaches_the_rate_that_a_server_allows_and_is_seldom_refused(
    stub: StubS3, make_rig: Callable[..., Rig], processes: int
) -> None:
    throttle = Throttle(RATE)
    stub.script.plan("*", throttle, times=10**9)
    with Senders(processes) as senders:
        senders.start()
        check_rate(throttle, make_rig(senders))


def check_rate(throttle: Throttle, rig: Rig) -> None:
    write_files(rig, 30 * RATE)
    assert rig.transfer().files_sent == 30 * RATE
    found = throttle.taken[0] + 5
    taken = [moment for moment in throttle.taken if moment >= found]
    refused = [moment for moment in throttle.refused if moment >= found]
    assert len(taken) >= 0.9 * RATE * (taken[-1] - taken[0])
    assert len(refused) <= 0.05 * len(taken)


@pytest.mark.slow
def test_processes_that_know_no_limits_send_nothing_where_there_are_any(
    stub: StubS3, make_rig: Callable[..., Rig]
) -> None:
    with Senders(2) as senders:
        senders.start()
        rig = make_rig(senders, worker_limits=Rates(50.0, inf))
        write_files(rig, 100)
        begun = time.monotonic()
        assert rig.transfer().ok
    assert stub.log.counts().total() <= 50 * (time.monotonic() - begun + 0.1) + 1


def test_a_limit_of_requests_holds_for_all_kinds_of_them(stub: StubS3, make_rig: Callable[..., Rig]) -> None:
    stub.store.page_size = 5
    rig = make_rig(**SMALL_PARTS, worker_limits=Rates(20.0, inf))
    write_files(rig, 20)
    write_tree(rig.source, {"large": bytes(11 * MIB)})
    for number in range(20):
        stub.store.put("bucket", f"p/plate/0/{number}", bytes(100) if number % 2 else bytes(99))
    begun = time.monotonic()
    assert rig.transfer().ok
    took = time.monotonic() - begun
    counts = stub.log.counts()
    assert {"PutObject", "ListObjectsV2", "CreateMultipartUpload", "UploadPart"} <= counts.keys()
    assert counts["ListObjectsV2"] >= 8
    assert counts.total() <= 20 * (took + 0.1) + 1
    assert counts.total() >= 20 * took * 0.7


def test_repeated_requests_count_as_often_as_they_are_made(stub: StubS3, make_rig: Callable[..., Rig]) -> None:
    stub.script.plan("PutObject", script.refuse(500, "InternalError"), times=10)
    rig = make_rig(worker_limits=Rates(20.0, inf))
    write_files(rig, 20)
    begun = time.monotonic()
    assert rig.transfer().ok
    assert stub.log.counts()["PutObject"] == 30
    assert stub.log.counts().total() <= 20 * (time.monotonic() - begun + 0.1) + 1


@pytest.mark.slow
def test_a_limit_of_bytes_holds_for_small_files_and_parts(stub: StubS3, make_rig: Callable[..., Rig]) -> None:
    limit = 12 * MIB
    rig = make_rig(**SMALL_PARTS, worker_limits=Rates(inf, float(limit)))
    write_files(rig, 12, MIB)
    write_tree(rig.source, {"large": bytes(20 * MIB)})
    begun = time.monotonic()
    assert rig.transfer().ok
    took = time.monotonic() - begun
    assert took >= (32 - 5) / 12 - 0.1, "32 MiB, of which the last part goes out on credit"
    assert sum(entry.size for entry in stub.log.entries) >= 32 * MIB


def test_a_stop_is_noticed_while_requests_wait_for_a_limit(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(worker_limits=Rates(0.5, inf))
    write_files(rig, 50)
    stop = threading.Event()

    def gate() -> None:
        if stop.is_set():
            raise Stopped("worker", "time limit", "again")

    rig.gate = gate
    threading.Timer(1.5, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(Stopped):
        rig.transfer()
    assert time.monotonic() - begun < 1.5 + NOTICED
