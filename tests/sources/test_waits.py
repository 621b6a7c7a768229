"""When calls count as waiting for their file system."""

from __future__ import annotations

from bulkhaul.sources.waits import Waits, clock


def note(waits: Waits, seconds: float, *, times: int, calls: int = 1) -> None:
    for _ in range(times):
        waits.note(clock() - seconds, calls=calls)


def test_a_file_system_is_slow_once_nearly_all_calls_waited():
    waits = Waits()
    note(waits, 0.05, times=11)
    assert not waits.slow
    assert waits.quick is False

    note(waits, 0.05, times=1)
    assert waits.slow


def test_quick_calls_make_it_quick_again():
    waits = Waits()
    note(waits, 0.05, times=16)

    note(waits, 0.0, times=8)
    assert (waits.slow, waits.quick) == (False, False)
    note(waits, 0.0, times=8)
    assert (waits.slow, waits.quick) == (False, True)


def test_a_few_long_calls_among_many_tell_nothing():
    waits = Waits()
    for _ in range(20):
        note(waits, 0.0, times=2)
        note(waits, 0.05, times=1)

    assert not waits.slow


def test_work_of_many_calls_is_judged_by_the_call():
    waits = Waits()
    note(waits, 0.005, times=16, calls=1000)

    assert (waits.slow, waits.quick) == (False, True)


def test_every_call_is_timed_until_something_is_known_then_one_in_64():
    waits = Waits()
    assert waits.gap == 0
    note(waits, 0.0, times=16)
    assert waits.gap == 63
