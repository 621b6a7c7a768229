"""Tokens that end in the midst of a large file, in small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.figures.tokens import LEAST_ROTATIONS, Scenario, Verdict, course
from servers.seaweed import ADMIN, Seaweed
from servers.stub.script import refuse
from servers.stub_s3 import Front, StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slow]


@pytest.fixture
def front(s3_server: Seaweed) -> Iterator[StubS3]:
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as front:
        yield front


@pytest.fixture
def send(tmp_path: Path, s3_server: Seaweed, bucket: str, front: StubS3) -> Callable[[Scenario], Verdict]:
    """One file through a scenario; nothing of it stays in the bucket."""

    def sent(scenario: Scenario) -> Verdict:
        verdict = course(tmp_path, front, scenario, seed=1, bucket=bucket, real=s3_server)
        client = s3_server.client()
        for one in client.list_objects_v2(Bucket=bucket).get("Contents", []):
            client.delete_object(Bucket=bucket, Key=one["Key"])
        return verdict

    return sent


def test_thirty_tokens_end_within_one_file_though_they_say_otherwise(send: Callable[[Scenario], Verdict]) -> None:
    verdict = send(Scenario("a lie", 1.5, 100, said=3600.0))
    assert verdict.arrived, verdict.said
    assert verdict.rotations >= LEAST_ROTATIONS
    assert verdict.ok, verdict


def test_an_outage_of_the_provider_that_outlasts_the_tokens_is_waited_out(send: Callable[[Scenario], Verdict]) -> None:
    # The provider repeats its own request for 7.5 s at most.
    verdict = send(Scenario("an outage", 2.0, 20, outage=16.0))
    assert verdict.arrived, verdict.said
    assert verdict.provider_faults > 0
    assert verdict.rotations >= 5


def test_a_provider_that_gives_no_more_fails_the_file_and_the_verdict_says_so(
    send: Callable[[Scenario], Verdict], front: StubS3
) -> None:
    scenario = Scenario("refused", 2.0, 12)
    front.script.plan("GetDataAccess", lambda _request, serve: serve(), times=2)
    front.script.plan("GetDataAccess", refuse(403, "AccessDenied"), times=1_000)
    verdict = send(scenario)
    assert not verdict.arrived
    assert not verdict.ok
