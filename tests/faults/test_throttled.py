"""Eight real workers at a server that refuses: the figure in small, and its judge before courses that are not so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkhaul.joblist.heartbeat import LeaseTimes
from faults.figures.throttled import WORKERS, Arrival, course_of, judge

NEWS_EACH_SECOND = LeaseTimes(ttl=12.0, heartbeat=2.0)


def arrivals(signer: str, *, rate: float, refused: float = 0.0, until: float = 90.0) -> Iterator[Arrival]:
    for number in range(int(until * rate)):
        yield Arrival(number / rate, signer, taken=number * refused % 1 <= 1 - refused, file=True)


def test_an_even_course_at_the_rate_is_judged_well() -> None:
    seen = [arrival for number in range(8) for arrival in arrivals(str(number), rate=10)]
    verdict = judge(seen, rate=80, workers=8)
    assert verdict.ok
    assert verdict.fairness == pytest.approx(1)
    assert verdict.goodput == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("kind", ["slow", "refused", "uneven", "short", "absent"])
def test_a_course_that_is_not_as_claimed_is_not_judged_well(kind: str) -> None:
    rates = [24.0, *[8.0] * 7] if kind == "uneven" else [10.0] * (7 if kind == "absent" else 8)
    refused, until = 0.2 if kind == "refused" else 0.0, 25.0 if kind == "short" else 90.0
    seen = [
        arrival
        for number, rate in enumerate(rates)
        for arrival in arrivals(str(number), rate=rate, refused=refused, until=until)
    ]
    allowed = {"slow": 100.0, "refused": 64.0}.get(kind, 80.0)
    assert not judge(seen, rate=allowed, workers=8).ok


@pytest.mark.slow
def test_eight_real_workers_share_a_servers_rate(tmp_path: Path) -> None:
    seen = course_of(tmp_path, rate=48.0, seconds=25.0, lease=NEWS_EACH_SECOND)
    verdict = judge(seen, rate=48.0, workers=WORKERS, found=10.0)
    assert verdict.ok, verdict


@pytest.mark.slow
def test_a_worker_that_gets_less_is_seen(tmp_path: Path) -> None:
    def arguments(number: int) -> list[str]:
        return ["--max-requests", "6/s"] if number == 0 else []

    seen = course_of(tmp_path, rate=48.0, seconds=8.0, lease=NEWS_EACH_SECOND, workers=3, arguments=arguments)
    verdict = judge(seen, rate=48.0, workers=3, found=2.0)
    assert verdict.fairness < 0.95
    assert not verdict.ok
