"""How long a request may be repeated, as a value: options carry it, also into processes that repeat nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long one request may be repeated; pauses in seconds, each drawn evenly between nothing and its bound.

    `tries` are those that transient faults cost, the first one included. Throttled answers, and a provider of
    credentials that fails, cost no tries but time: a budget in seconds each, from the first of them on. `renewals` of
    an ended token cost neither.
    """

    tries: int = 8
    first_pause: float = 0.5
    longest_pause: float = 20.0
    throttle_budget: float = 1800.0
    provider_budget: float = 900.0
    renewals: int = 8


DEFAULT_POLICY = RetryPolicy()
