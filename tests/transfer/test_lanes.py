from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable

import pytest

from bulkhaul.errors import Stopped
from bulkhaul.transfer.lanes import Abandoned, Halt, Lane
from transfer.rig import NOTICED


def lane(work: Callable[[int], None], *, limit: int = 4, queue: int = 8, budget: int | None = None) -> Lane[int]:
    return Lane(work, halt=Halt(), limit=lambda: limit, queue=queue, budget=budget)


def test_each_item_is_worked_on_once() -> None:
    done: list[int] = []
    made = lane(done.append)
    for number in range(2_000):
        made.put(number)
    made.drain()
    made.close()
    assert sorted(done) == list(range(2_000))


class Watch:
    """Counts how many work at once and how many bytes they hold."""

    def __init__(self, weights: dict[int, int] | None = None) -> None:
        self.lock = threading.Lock()
        self.now = self.most = self.nbytes = self.most_nbytes = 0
        self.weights = weights or {}

    def __call__(self, item: int) -> None:
        with self.lock:
            self.now += 1
            self.nbytes += self.weights.get(item, 0)
            self.most = max(self.most, self.now)
            self.most_nbytes = max(self.most_nbytes, self.nbytes)
        time.sleep(0.002)
        with self.lock:
            self.now -= 1
            self.nbytes -= self.weights.get(item, 0)


def test_a_limit_that_grows_is_used_also_while_the_producer_waits_for_room() -> None:
    """Seen over a round trip of 40 ms: it never was, so that more requests seemed to gain nothing."""
    limit = 1
    watch = Watch()
    made = Lane(watch, halt=Halt(), limit=lambda: limit, queue=200)
    for number in range(200):
        made.put(number)
    assert watch.most <= 1
    limit = 6
    made.drain()
    made.close()
    assert watch.most == 6


def test_a_limit_that_shrank_leaves_idle_threads_asleep() -> None:
    """Seen with 64 threads of which 32 had work: all others woke for each handful of files, 90,000 times a run."""
    threads, limit, rounds = 32, 32, 200
    begun, free = threading.Semaphore(0), threading.Event()

    def work(_item: int) -> None:
        begun.release()
        free.wait()

    made = Lane(work, halt=Halt(), limit=lambda: limit, queue=threads)
    for number in range(threads):
        made.put(number)
    for _ in range(threads):
        assert begun.acquire(timeout=10)
    limit = 1
    free.set()
    made.drain()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for number in range(rounds):
        made.extend([number])
        made.limit_changed()
        made.drain()
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
    made.close()
    assert switches < rounds * threads / 2


def test_no_more_work_at_once_than_the_limit_says_also_when_it_moves() -> None:
    limit = 6
    watch = Watch()
    made = Lane(watch, halt=Halt(), limit=lambda: limit, queue=100)
    for number in range(100):
        made.put(number)
    made.drain()
    assert watch.most == 6
    limit, watch.most = 2, 0
    for number in range(100):
        made.put(number)
    made.drain()
    assert watch.most <= 2
    limit, watch.most = 8, 0
    for number in range(100):
        made.put(number)
    made.drain()
    made.close()
    assert watch.most == 8


def test_bytes_in_flight_stay_within_the_budget_and_a_giant_goes_alone() -> None:
    weights = dict.fromkeys(range(40), 30) | {7: 500}
    watch = Watch(weights)
    made = Lane(watch, halt=Halt(), limit=lambda: 8, queue=100, budget=100)
    for number, nbytes in weights.items():
        made.put(number, nbytes)
    made.drain()
    made.close()
    assert watch.most_nbytes == 500
    weights[7] = 30
    watch.most_nbytes = 0
    made = Lane(watch, halt=Halt(), limit=lambda: 8, queue=100, budget=100)
    for number, nbytes in weights.items():
        made.put(number, nbytes)
    made.drain()
    made.close()
    assert watch.most_nbytes == 90


def test_the_producer_waits_for_room_in_the_queue() -> None:
    release = threading.Event()
    made = lane(lambda _item: release.wait(10) and None, limit=1, queue=2)
    put = []

    def produce() -> None:
        for number in range(10):
            made.put(number)
            put.append(number)

    thread = threading.Thread(target=produce)
    thread.start()
    time.sleep(0.2)
    assert len(put) <= 3  # one in work, two queued
    release.set()
    thread.join(10)
    made.drain()
    made.close()
    assert len(put) == 10


def test_the_first_fault_stops_all_lanes_and_reaches_the_producer_as_it_is() -> None:
    halt = Halt()
    worked: list[int] = []

    def work(item: int) -> None:
        if item == 5:
            raise Stopped("worker", "time limit", "again")
        halt.check()
        worked.append(item)
        time.sleep(0.01)

    one = Lane(work, halt=halt, limit=lambda: 2, queue=10)
    other = Lane(work, halt=halt, limit=lambda: 2, queue=10)
    with pytest.raises(Stopped, match="time limit"):
        for number in range(1_000):
            one.put(number)
            other.put(number + 1_000)
        one.drain()
    with pytest.raises(Stopped):
        other.drain()
    begun = time.monotonic()
    one.close()
    other.close()
    assert time.monotonic() - begun < 2
    assert len(worked) < 100


def test_an_abandoned_item_is_no_fault_of_its_own() -> None:
    halt = Halt()
    halt.set(Abandoned("transfer", "stopped", "see the first error"))
    assert halt.error is None


def test_a_thread_that_hangs_does_not_keep_the_end_waiting() -> None:
    release = threading.Event()
    made = lane(lambda _item: release.wait(30) and None)
    made.put(1)
    begun = time.monotonic()
    made.close(until=time.monotonic() + 0.2)
    assert time.monotonic() - begun < 2
    release.set()


@pytest.mark.parametrize("waiting", ["put", "drain"])
def test_a_stop_is_noticed_while_all_work_hangs(waiting: str) -> None:
    hang, stopped = threading.Semaphore(0), threading.Event()
    release = threading.Event()

    def work(_item: int) -> None:
        hang.release()
        release.wait(30)

    def gate() -> None:
        if stopped.is_set():
            raise Stopped("worker", "time limit", "again")

    made = Lane(work, halt=Halt(), limit=lambda: 2, queue=2, gate=gate)
    for number in range(4):
        made.put(number)
    assert all(hang.acquire(timeout=10) for _ in range(2)), "two at work, two queued"
    stopped.set()
    begun = time.monotonic()
    with pytest.raises(Stopped, match="time limit"):
        made.put(5) if waiting == "put" else made.drain()
    assert time.monotonic() - begun < NOTICED
    release.set()
    made.close()
