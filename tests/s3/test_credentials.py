"""One provider call however many threads want a token, renewal in time for any life, failures that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bulkhaul.errors import CredentialsError, Transient
from bulkhaul.s3.credentials import CredentialPool, CredentialSource, Grant
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from s3.bank import START, TARGET, Bank


def in_threads(number: int, call: Callable[[], object]) -> list[object]:
    """What `number` threads got that began at the same moment; their errors are results too."""
    barrier = threading.Barrier(number)

    def one() -> object:
        barrier.wait()
        try:
            return call()
        except CredentialsError as error:
            return error

    with ThreadPoolExecutor(number) as pool:
        return [done.result() for done in [pool.submit(one) for _ in range(number)]]


def test_no_token_is_fetched_before_somebody_wants_it() -> None:
    bank = Bank()

    source = bank.source()
    assert bank.calls == 0
    assert source.token().access_key == "KEY1"
    assert bank.asked == [TARGET]


def test_many_threads_that_want_the_first_token_cause_one_call() -> None:
    bank = Bank()

    def slow(location: S3Location) -> Grant:
        time.sleep(0.1)
        return bank(location)

    source = CredentialSource(slow, TARGET, now=bank.now)

    assert {token.access_key for token in in_threads(16, source.token)} == {"KEY1"}  # type: ignore[attr-defined]
    assert bank.calls == 1


def test_many_threads_whose_token_was_refused_cause_one_call() -> None:
    bank = Bank()
    source = bank.source()
    used = source.token()

    in_threads(16, lambda: source.renew(used))

    assert bank.calls == 2
    assert source.token().access_key == "KEY2"


def test_many_threads_that_wait_for_a_failing_provider_share_its_one_failure() -> None:
    bank = Bank(failing=CredentialsError("grant", "no matching grant", "ask"))

    def slow(location: S3Location) -> Grant:
        time.sleep(0.1)
        return bank(location)

    source = CredentialSource(slow, TARGET, now=bank.now)

    assert all(isinstance(one, CredentialsError) for one in in_threads(16, source.token))
    assert bank.calls == 1


def test_fixed_keys_are_fetched_once() -> None:
    bank = Bank(life=None)
    source = bank.source()

    for _ in range(100):
        bank.wait(86_400)
        source.token()
    assert bank.calls == 1


@pytest.mark.parametrize(("life", "window"), [(2.0, 0.5), (5.0, 1.25), (900.0, 225.0), (3600.0, 300.0), (43_200, 300)])
def test_a_token_is_renewed_in_the_last_quarter_of_its_life_but_at_most_five_minutes_early(
    life: float, window: float
) -> None:
    bank = Bank(life=life)
    source = bank.source()
    source.token()

    bank.wait(life - window - 0.01)
    assert source.token().access_key == "KEY1"
    bank.wait(0.02)
    assert source.token().access_key == "KEY2"


def test_tokens_of_five_seconds_are_not_fetched_at_each_request() -> None:
    bank = Bank(life=5.0)
    source = bank.source()

    for _ in range(6000):  # a minute of requests, one each 10 ms
        token = source.token()
        assert token.expires_at is not None
        assert token.expires_at > bank.at
        bank.wait(0.01)
    assert bank.calls <= 17


def test_others_go_on_with_the_present_token_while_one_renews_it() -> None:
    bank = Bank(life=100.0)
    entered, leave = threading.Event(), threading.Event()

    def gated(location: S3Location) -> Grant:
        if bank.calls:
            entered.set()
            assert leave.wait(10)
        return bank(location)

    source = CredentialSource(gated, TARGET, now=bank.now)
    source.token()
    bank.wait(80)
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(source.token)
        assert entered.wait(10)
        assert source.token().access_key == "KEY1"
        leave.set()
        assert renewing.result().access_key == "KEY2"


@pytest.mark.parametrize(
    "failure",
    [CredentialsError("x", "denied", "ask"), Transient("sts", "no connection", "wait")],
    ids=["final", "busy"],
)
def test_a_provider_may_fail_while_the_present_token_lives(failure: Exception) -> None:
    bank = Bank(life=100.0)
    source = bank.source()
    source.token()
    bank.failing = failure

    bank.wait(80)
    for _ in range(1900):  # 19 of the last 20 seconds
        assert source.token().access_key == "KEY1"
        bank.wait(0.01)
    assert 2 <= bank.calls <= 30  # asked again, with pauses

    bank.failing = None
    bank.wait(0.9)
    assert source.token().access_key != "KEY1"


@pytest.mark.parametrize(
    "failure",
    [CredentialsError("x", "denied", "ask"), Transient("sts", "no connection", "wait")],
    ids=["final", "busy"],
)
def test_a_provider_that_fails_with_an_ended_token_is_a_credentials_error(failure: Exception) -> None:
    bank = Bank(life=100.0)
    source = bank.source()
    source.token()
    bank.failing = failure
    bank.wait(101)

    with pytest.raises(CredentialsError) as caught:
        source.token()
    assert caught.value.exit_code == 77
    assert len(str(caught.value).splitlines()) == 1

    bank.failing = None
    bank.wait(2)
    assert source.token().expires_at == bank.at + timedelta(seconds=100)


def test_a_token_that_has_ended_already_is_refused() -> None:
    with pytest.raises(CredentialsError, match="ended at 2026-11-21T09:59:59Z"):
        Bank(life=-1.0).source().token()


def test_a_refused_token_that_somebody_has_renewed_is_left_alone() -> None:
    bank = Bank()
    source = bank.source()
    first = source.token()
    source.renew(first)

    source.renew(first)

    assert bank.calls == 2


def test_a_provider_that_has_only_the_refused_token_is_an_error() -> None:
    fixed = Token("KEY", "secret")
    source = CredentialSource(lambda _location: Grant(fixed, renewable=False), TARGET)

    assert not source.renewable
    with pytest.raises(CredentialsError, match="no newer ones"):
        source.renew(source.token())


def test_secrets_are_in_no_representation() -> None:
    token = Token("KEY", "top-secret", "session-secret", START)

    for text in (repr(token), str(Grant(token)), f"{token}"):
        assert "KEY" in text
        assert "secret'" not in text
        assert "top-secret" not in text


def test_a_location_that_a_grant_covers_needs_no_new_one() -> None:
    bank = Bank(covers=S3Location("bucket", "lab"))
    pool = CredentialPool(bank, now=bank.now)
    first = pool.for_location(S3Location("bucket", "lab/a"))
    first.token()

    assert pool.for_location(S3Location("bucket", "lab/b")) is first
    assert pool.for_location(S3Location("bucket", "lab2/b")) is not first
    assert pool.for_location(S3Location("other", "lab/b")) is not first
    assert bank.calls == 1


def test_a_location_that_no_grant_covers_gets_one_of_its_own() -> None:
    bank = Bank()
    pool = CredentialPool(lambda location: Grant(bank(location).token, covers=location), now=bank.now)

    pool.for_location(S3Location("bucket", "a")).token()
    pool.for_location(S3Location("bucket", "b")).token()
    pool.for_location(S3Location("bucket", "a")).token()

    assert bank.asked == [S3Location("bucket", "a"), S3Location("bucket", "b")]


def test_keys_that_are_good_for_anything_serve_all_locations() -> None:
    bank = Bank(covers=None)
    pool = CredentialPool(bank, now=bank.now)
    first = pool.for_location(S3Location("bucket", "a"))
    first.token()

    assert pool.for_location(S3Location("other", "b")) is first
