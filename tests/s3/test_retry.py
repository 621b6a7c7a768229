"""Which errors are repeated, how often, for how long, and what the gate and the token have to do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul import errors
from bulkhaul.s3.credentials import CredentialSource, Grant
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.policy import RetryPolicy
from bulkhaul.s3.retry import repeat
from bulkhaul.s3.token import Token


def fault(kind: type[errors.S3Error]) -> errors.S3Error:
    return kind("s3://bucket/key", "scripted", "nothing", code="Scripted")


@dataclass
class Calls:
    """A request that fails with the given errors in turn, then succeeds; its clock moves only when it sleeps."""

    faults: list[errors.S3Error]
    made: int = 0
    time: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> str:
        self.made += 1
        if self.faults:
            raise self.faults.pop(0)
        return "done"

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds

    def run(
        self,
        *,
        gate: Callable[[], None] = lambda: None,
        source: CredentialSource | None = None,
        policy: RetryPolicy | None = None,
        on_throttle: Callable[[], None] | None = None,
    ) -> str:
        return repeat(
            self,
            gate=gate,
            source=source,
            on_throttle=on_throttle,
            policy=policy or RetryPolicy(),
            sleep=self.sleep,
            random=lambda: 1.0,
            clock=lambda: self.time,
        )


def numbered_source(*, lives: int = 1000) -> CredentialSource:
    """A source that gives a new token at each renewal."""
    tokens = iter(range(lives))
    return CredentialSource(lambda _location: Grant(Token(f"KEY{next(tokens)}", "secret")), S3Location("bucket"))


def test_a_success_is_not_repeated() -> None:
    calls = Calls([])

    assert calls.run() == "done"
    assert (calls.made, calls.pauses) == (1, [])


@pytest.mark.parametrize("kind", [errors.Transient, errors.Unreachable])
def test_a_transient_fault_is_tried_eight_times_in_all(kind: type[errors.S3Error]) -> None:
    enough, too_many = Calls([fault(kind)] * 7), Calls([fault(kind)] * 8)

    assert enough.run() == "done"
    with pytest.raises(kind):
        too_many.run()
    assert (enough.made, too_many.made) == (8, 8)


@pytest.mark.parametrize(
    "kind",
    [
        errors.S3Error,
        errors.IntegrityFailed,
        errors.UploadGone,
        errors.NoSuchObject,
        errors.ObjectRefused,
        errors.BucketUnusable,
        errors.ListingOutOfOrder,
        errors.CredentialsError,
        errors.AccessDenied,
    ],
)
def test_what_no_repetition_cures_surfaces_at_once(kind: type[errors.S3Error]) -> None:
    calls = Calls([fault(kind)])

    with pytest.raises(kind):
        calls.run(source=numbered_source())
    assert (calls.made, calls.pauses) == (1, [])


def test_throttling_costs_time_and_no_tries() -> None:
    heard: list[int] = []
    calls = Calls([fault(errors.Throttled)] * 50 + [fault(errors.Transient)] * 7)

    assert calls.run(on_throttle=lambda: heard.append(1)) == "done"
    assert len(heard) == 50


def test_throttling_ends_with_its_time_budget() -> None:
    calls = Calls([fault(errors.Throttled)] * 10_000)

    with pytest.raises(errors.Throttled):
        calls.run(policy=RetryPolicy(throttle_budget=100.0, longest_pause=20.0))
    assert 100.0 <= calls.time <= 120.0


def test_pauses_grow_to_their_bound() -> None:
    calls = Calls([fault(errors.Transient)] * 7)

    calls.run(policy=RetryPolicy(first_pause=0.125, longest_pause=1.0))

    assert calls.pauses == [0.125, 0.25, 0.5, 1.0, 1.0, 1.0, 1.0]


@given(st.floats(0.0, 0.999), st.integers(1, 7))
def test_a_pause_lies_between_nothing_and_its_bound(draw: float, number: int) -> None:
    calls = Calls([fault(errors.Transient)] * number)

    repeat(calls, sleep=calls.sleep, random=lambda: draw, clock=lambda: calls.time)

    assert calls.time <= sum(min(20.0, 0.5 * 2**n) for n in range(number)) * draw + 1e-6


def test_the_gate_is_asked_before_each_attempt_and_ends_the_repetition() -> None:
    calls = Calls([fault(errors.Transient)] * 7)

    def gate() -> None:
        if calls.made == 2:
            raise errors.Stopped("worker", "time limit", "nothing")

    with pytest.raises(errors.Stopped):
        calls.run(gate=gate)
    assert calls.made == 2


def test_a_closed_gate_lets_no_request_out() -> None:
    calls = Calls([])

    def gate() -> None:
        raise errors.ClaimLost("job", "taken over", "nothing")

    with pytest.raises(errors.ClaimLost):
        calls.run(gate=gate)
    assert calls.made == 0


def test_a_long_pause_looks_at_the_gate_each_second() -> None:
    calls = Calls([fault(errors.Throttled)])

    def gate() -> None:
        if calls.time >= 3:
            raise errors.Stopped("worker", "signal", "nothing")

    with pytest.raises(errors.Stopped):
        calls.run(gate=gate, policy=RetryPolicy(first_pause=60.0, longest_pause=60.0))
    assert calls.time == 3


def test_an_ended_token_is_renewed_and_costs_no_try() -> None:
    source = numbered_source()
    calls = Calls([fault(errors.CredentialsExpired), *[fault(errors.Transient)] * 7])

    assert calls.run(source=source) == "done"
    assert source.token().access_key == "KEY1"


def test_the_pause_after_a_renewal_outlasts_obstores_copy_of_the_old_token() -> None:
    calls = Calls([fault(errors.CredentialsExpired)])

    calls.run(source=numbered_source())

    assert calls.time > 0.1


def test_tokens_that_are_refused_though_fresh_end_as_a_credentials_error() -> None:
    calls = Calls([fault(errors.CredentialsExpired)] * 100)

    with pytest.raises(errors.CredentialsError, match="refuses each new token"):
        calls.run(source=numbered_source())
    assert calls.made == 3


def test_an_ended_token_without_a_source_surfaces() -> None:
    calls = Calls([fault(errors.CredentialsExpired)])

    with pytest.raises(errors.CredentialsExpired):
        calls.run()


def test_fixed_keys_that_have_ended_are_not_asked_for_twice() -> None:
    source = CredentialSource(lambda _location: Grant(Token("KEY", "s"), renewable=False), S3Location("bucket"))
    calls = Calls([fault(errors.CredentialsExpired)])

    with pytest.raises(errors.CredentialsError, match="there are no newer ones"):
        calls.run(source=source)
    assert calls.made == 1


def test_a_skewed_clock_is_believed_the_second_time() -> None:
    once, twice = Calls([fault(errors.ClockSkewed)]), Calls([fault(errors.ClockSkewed)] * 2)

    assert once.run() == "done"
    with pytest.raises(errors.ClockSkewed):
        twice.run()
