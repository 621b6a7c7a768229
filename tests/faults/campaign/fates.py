"""Which fault meets which request: those that the campaign planned, tokens that have ended, clocks that are off."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime

from faults.campaign.keys import TokenDesk
from faults.campaign.proxy import Act, Head, pass_on
from faults.campaign.wire import KINDS, expired, skewed

SKEWED = "clock a day off"
JUMPING = "clock that jumps by a day"
CLOCKS = (SKEWED, JUMPING)
_MOST_SKEW = 900.0  # seconds: S3's own limit


class Fates:
    """The proxy's choice; `met` counts the faults that met a request. Called in the proxy's thread alone but `plan`."""

    def __init__(self, desk: TokenDesk | None, chance: random.Random) -> None:
        self._desk = desk
        self._chance = chance
        self._planned: list[str] = []
        self._once: set[str] = set()
        self.met: Counter[str] = Counter()

    def plan(self, kind: str) -> None:
        """Let `kind` meet the next request that it fits."""
        self._planned.append(kind)

    def plan_refusal(self, name: str) -> None:
        """Count the next refusal of a token or a clock under `name`, and no further one until then."""
        self._once.add(name)

    def clear(self) -> None:
        """No more faults."""
        self._planned = []

    def __call__(self, head: Head) -> Act:
        if _skew(head) > _MOST_SKEW:
            self._count_once(*CLOCKS)
            return skewed
        if self._desk is not None and not self._desk.lives(_signer(head)):
            self._count_once("token ended")
            return expired
        for kind in self._planned:
            fits, make = KINDS[kind]
            if fits(head):
                self._planned.remove(kind)
                self.met[kind] += 1
                return make(self._chance)
        return pass_on

    def _count_once(self, *names: str) -> None:
        # A token that ends is one fault, however many requests were under way.
        for name in self._once.intersection(names):
            self._once.remove(name)
            self.met[name] += 1


def _signer(head: Head) -> str:
    _, _, credential = head.headers.get("authorization", "").partition("Credential=")
    return credential.partition("/")[0]


def _skew(head: Head) -> float:
    at = datetime.strptime(head.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return abs((datetime.now(UTC) - at).total_seconds())
