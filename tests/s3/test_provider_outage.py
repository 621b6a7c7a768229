"""What a request does while the provider of its tokens is down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bulkhaul import errors
from bulkhaul.s3.credentials import CredentialSource, Grant
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from s3.test_retry import Calls, fault


class Outage:
    """A provider of tokens of 20 s that fails from one moment to another; its clock is that of the calls."""

    def __init__(self, calls: Calls, *, begins: float, ends: float) -> None:
        self.calls = calls
        self.down = (begins, ends)
        self.asked = 0

    def source(self) -> CredentialSource:
        return CredentialSource(self._give, S3Location("bucket"), now=self._now)

    def _now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=self.calls.time)

    def _give(self, _location: S3Location) -> Grant:
        self.asked += 1
        if self.down[0] <= self.calls.time < self.down[1]:
            raise fault(errors.Transient)
        return Grant(Token(f"KEY{self.asked}", "secret", None, self._now() + timedelta(seconds=20)))


class Refused(Calls):
    """A request that S3 refuses until some moment, since the token has ended, whatever it says of itself."""

    def __init__(self, faults: list[errors.S3Error], *, until: float) -> None:
        super().__init__(faults)
        self.until = until

    def __call__(self) -> str:
        if self.time < self.until:
            raise fault(errors.CredentialsExpired)
        return super().__call__()


def test_a_provider_that_is_down_for_a_while_is_waited_for() -> None:
    calls = Calls([])
    outage = Outage(calls, begins=5.0, ends=45.0)
    source = outage.source()
    source.token()
    calls.time = 30.0  # the keys have ended
    assert calls.run(source=source) == "done"
    assert 45 <= calls.time <= 45 + 20
    assert calls.made == 1


def test_a_token_that_s3_refuses_while_the_provider_is_down_is_waited_for_too() -> None:
    calls = Refused([], until=45.0)
    source = Outage(calls, begins=5.0, ends=45.0).source()
    source.token()
    calls.time = 6.0  # they live, says the provider
    assert calls.run(source=source) == "done"
    assert 45 <= calls.time <= 45 + 20
    never = Refused([], until=1e9)
    source = Outage(never, begins=5.0, ends=1e9).source()
    source.token()
    never.time = 6.0
    with pytest.raises(errors.ProviderFailed):
        never.run(source=source)
    assert 900 <= never.time - 6 <= 900 + 20


def test_a_provider_that_stays_down_ends_with_its_time_budget() -> None:
    calls = Calls([])
    source = Outage(calls, begins=5.0, ends=1e9).source()
    source.token()
    calls.time = 30.0
    with pytest.raises(errors.ProviderFailed) as caught:
        calls.run(source=source)
    assert 900 <= calls.time - 30 <= 900 + 20
    assert caught.value.exit_code == 77


def test_the_gate_ends_the_wait_for_a_provider() -> None:
    calls = Calls([])
    source = Outage(calls, begins=5.0, ends=1e9).source()
    source.token()
    calls.time = 30.0

    def gate() -> None:
        if calls.time > 60:
            raise errors.Stopped("worker", "time limit", "again")

    with pytest.raises(errors.Stopped):
        calls.run(source=source, gate=gate)
    assert calls.time < 62


@pytest.mark.parametrize("kind", [errors.NoMatchingGrant, errors.AccessDenied])
def test_a_provider_that_says_no_is_not_asked_again(kind: type[errors.S3Error]) -> None:
    given = iter([Grant(Token("KEY", "secret"))])

    def provide(_location: S3Location) -> Grant:
        for grant in given:
            return grant
        raise fault(kind)

    calls = Calls([fault(errors.CredentialsExpired)])
    with pytest.raises(kind):
        calls.run(source=CredentialSource(provide, S3Location("bucket")))
    assert calls.made == 1
