"""The owner's two thirds of a lease against an observer whose clock runs up to half as fast again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes
from bulkhaul.joblist.liveness import Observer, Sign
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import far_owner, nobody_gone

TTL = 180.0
RATES = st.floats(1.0, 1.499)
SPACINGS = st.floats(1.0, TTL / 3 / 1.5)


class Pair:
    """An owner with true time, and somebody who looks at it with a clock of another rate."""

    def __init__(self, folder: str, *, rate: float, beat: float) -> None:
        paths = JoblistPaths(Path(folder))
        for each in paths.folders():
            each.mkdir(exist_ok=True)
        self.now = 1_000.0
        self.owner = far_owner()
        self.beats = Heartbeat(paths.heartbeat(self.owner.worker), LeaseTimes(TTL, beat), clock=lambda: self.now)
        self.observer = Observer(paths, TTL, nobody_gone, clock=lambda: self.now * rate)

    def look_until(self, end: float, spacing: float, each: Callable[[Sign], None]) -> None:
        """A look at once and then each `spacing` seconds, before `end`."""
        while self.now < end:
            each(self.observer.look(self.owner))
            self.now += spacing
        self.now = end


@given(rate=RATES, spacing=SPACINGS)
def test_who_is_found_dead_has_stopped_sending_before(rate: float, spacing: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(folder, rate=rate, beat=20.0)
        pair.beats.renew()
        signs: list[Sign] = []

        def judge(sign: Sign) -> None:
            signs.append(sign)
            assert sign is not Sign.DEAD or not pair.beats.fresh()

        pair.look_until(pair.now + 2 * TTL, spacing, judge)
        assert signs[-1] is Sign.DEAD


@example(rate=1.49, spacing=20.0, beat=50.0, idle=115.0)
@given(rate=RATES, spacing=SPACINGS, beat=st.floats(1.0, TTL / 3), idle=st.floats(0.0, TTL))
def test_who_claims_after_a_wait_is_not_found_dead_before_its_next_beat(
    rate: float, spacing: float, beat: float, idle: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(folder, rate=rate, beat=beat)
        pair.beats.renew()
        # Somebody watches it from its last job on, and it takes the next one `idle` seconds later.
        pair.look_until(pair.now + idle, spacing, lambda _sign: None)
        pair.beats.renew_before_claim()

        def judge(sign: Sign) -> None:
            assert sign is not Sign.DEAD

        pair.look_until(pair.now + beat, spacing, judge)
