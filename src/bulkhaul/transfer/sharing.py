"""A worker's part of what all workers of a joblist may send together (pure): it follows from what each of them wrote.

Every worker writes one `Entry`, some seconds apart from the others, and reads theirs. Two things are divided. The
joblist's own limits are kept strictly: a part is lowered at once and raised only by what nobody else has been granted.
The rate that S3 allows a bucket is an estimate: each worker has its own from the refusals that it met, and goes on with
the mean of all, but with no less than was reached together just now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from bulkhaul.transfer.cap import FEW, Cap
from bulkhaul.transfer.limits import NOTHING, UNLIMITED, Limiter, Rates, Use

_ROOM = 1.25  # a worker may want this much more than it used, before it says so
_LEAST_PART = 0.1  # of an even part: so much is kept for a worker that wants nothing now and something in a moment
_REACHED = 0.95  # of what all of them reached together is never given up for an estimate
_MOVED = 0.2  # of a worker's part: others are on their way to theirs too, so it pays to look again soon
_SETTLED = 5  # turns in a row in which it moved less


class Entry(NamedTuple):
    """What one worker tells the others; rates a second.

    `bucket` is where it sends to; `cap` what it thinks S3 allows all of them there together (infinite: no idea);
    `reached` and `throttled` are the requests that S3 took and refused since its last entry.
    """

    bucket: str
    want: Rates = UNLIMITED
    granted: Rates = NOTHING
    cap: float = inf
    reached: float = 0.0
    throttled: float = 0.0

    def encode(self) -> str:
        """The entry as words."""
        rates = (*self.want, *self.granted, self.cap, self.reached, self.throttled)
        return " ".join([self.bucket, *(f"{rate:.6g}" for rate in rates)])


def decode(text: str) -> Entry | None:
    """The entry of `encode`; None where it is damaged or written by some other version."""
    try:
        bucket, *words = text.split(" ")
        rates = [float(word) for word in words]
        requests, nbytes, granted_requests, granted_nbytes, *others = rates
        entry = Entry(bucket, Rates(requests, nbytes), Rates(granted_requests, granted_nbytes), *others)
    except (ValueError, TypeError):
        return None
    return entry if all(rate >= 0 for rate in rates) else None


def parts(total: float, wants: Sequence[float]) -> list[float]:
    """Divide `total`: nobody gets less than another that wants as much; what nobody wants is divided evenly."""
    if total == inf:
        return [inf] * len(wants)
    least = _LEAST_PART * total / len(wants)
    asked = [max(least, want) for want in wants]
    found = [0.0] * len(wants)
    left = total
    by_want = sorted(range(len(wants)), key=asked.__getitem__)
    for done, place in enumerate(by_want):
        found[place] = min(asked[place], left / (len(wants) - done))
        left -= found[place]
    return [part + left / len(wants) for part in found]


def raised(total: float, own: tuple[float, float], others: Sequence[tuple[float, float]]) -> float:
    """What one worker may use from now on; each worker is (want, granted so far), `others` without it.

    All that was granted stays within `total`, if each worker has seen whom the others have seen.
    """
    if total == inf:
        return inf
    targets = parts(total, [want for want, _ in (own, *others)])
    granted = own[1]
    if granted >= targets[0]:
        return targets[0]
    free = max(0.0, total - granted - sum(other for _, other in others))
    # What stands on the board is rounded.
    waiting = 1 + sum(other < 0.999 * target for (_, other), target in zip(others, targets[1:], strict=True))
    return min(targets[0], granted + free / waiting)


@dataclass(slots=True)
class Member:
    """One worker among those of its joblist; `limits` are the joblist's, `bucket` is where it sends to now.

    `unsettled` says after a turn that the next one should come soon: nothing has been granted yet, or the parts of what
    S3 allows are still being found.
    """

    limits: Rates
    bucket: str = "-"
    _granted: Rates = NOTHING
    _wanted: Rates = NOTHING
    _fraction: float = 0.0
    _part: float = 0.0
    _steady: int = 0
    unsettled: bool = False

    def move(self, limiter: Limiter, bucket: str) -> None:
        """Send to `bucket` from now on; what another allowed says nothing of this one."""
        if bucket != self.bucket:
            self.bucket, self._fraction, self._part, self._steady = bucket, 0.0, 0.0, 0
            limiter.cap = Cap()

    def begin(self, limiter: Limiter, now: float, others: Sequence[Entry]) -> bool:
        """Keep from the first request on to what the `others` found; whether anything has been found at this bucket."""
        near = [other for other in others if other.bucket == self.bucket]
        self._agree_on_cap(limiter, now, Entry(self.bucket, limiter.own), near)
        return limiter.cap.known

    def leave(self, limiter: Limiter) -> None:
        """Give the part of the joblist's limits back."""
        self._granted = NOTHING
        limiter.grant(self.nothing(), until=inf)

    def turn(self, limiter: Limiter, now: float, others: Sequence[Entry], *, known: bool, until: float) -> Entry:
        """Agree with the `others` as they wrote last: set the limiter's rates and return what to write.

        `known` says that the others may have read our entry; before, nothing is used of what they divide. `until` is
        when they may take us for dead.
        """
        use = limiter.look(now)
        near = [other for other in others if other.bucket == self.bucket]
        want = self._want(use, limiter.own)
        granted = self._raised(want, others) if known else self.nothing()
        limiter.grant(granted, until=until)
        reached, throttled = (count / use.seconds if use.seconds else 0.0 for count in (use.succeeded, use.throttled))
        entry = Entry(self.bucket, want, granted, self._estimate(limiter, near), reached, throttled)
        self._agree_on_cap(limiter, now, entry, near)
        self.unsettled = 0.0 in granted or (limiter.cap.known and self._steady < _SETTLED)
        self._granted = granted
        return entry

    def _want(self, use: Use, own: Rates) -> Rates:
        if not use.seconds:
            return own
        used = (use.requests / use.seconds, use.nbytes / use.seconds)
        # Who was refused, and pauses for it, would have sent more.
        hungry = (use.hungry[0] or use.throttled > 0, use.hungry[1])
        now = Rates(
            *(
                most if wants_more else min(most, _ROOM * rate)
                for rate, most, wants_more in zip(used, own, hungry, strict=True)
            )
        )
        # A pause between two folders is no change of mind.
        want = Rates(*map(max, now, self._wanted))
        self._wanted = now
        return want

    def nothing(self) -> Rates:
        """The part of a worker that the others do not know yet."""
        return Rates(*(inf if total == inf else 0.0 for total in self.limits))

    def _raised(self, want: Rates, others: Sequence[Entry]) -> Rates:
        kinds = zip(self.limits, zip(want, self._granted, strict=True), strict=True)
        return Rates(
            *(
                raised(total, own, [(other.want[kind], other.granted[kind]) for other in others])
                for kind, (total, own) in enumerate(kinds)
            )
        )

    def _estimate(self, limiter: Limiter, near: Sequence[Entry]) -> float:
        """What this worker takes for the rate of all: its own came down or grew since it was agreed on.

        One that it found alone is what S3 took of it beside what S3 took of the others. Those that are so new that they
        have told nothing count as the others do in the mean; while all are, it has no idea.
        """
        if limiter.cap.rate == inf:
            return inf
        if self._fraction:
            return limiter.cap.rate / self._fraction
        told = [other.reached for other in near if other.reached or other.throttled or other.cap < inf]
        if near and not told:
            return inf
        return limiter.cap.rate + (sum(told) / len(told) * len(near) if near else 0.0)

    def _agree_on_cap(self, limiter: Limiter, now: float, own: Entry, near: Sequence[Entry]) -> None:
        caps = [one.cap for one in (own, *near) if one.cap < inf]
        if not caps:
            return
        reached = own.reached + sum(other.reached for other in near)
        total = max(sum(caps) / len(caps), _REACHED * reached)
        part = parts(total, [own.want.requests, *(other.want.requests for other in near)])[0]
        limiter.cap.agree(part, now)
        moved = abs(part - self._part) > _MOVED * self._part
        self._part, self._steady, self._fraction = part, 0 if moved else self._steady + 1, part / total
        # Each of many meets few refusals by itself.
        if sum(other.throttled for other in near) > FEW / 3 * reached:
            limiter.cap.hold(now)
