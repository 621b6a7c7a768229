"""The check of credentials: missing, ended, about to end, wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bulkhaul.errors import CredentialsError
from bulkhaul.s3.connection import Connection, connect
from bulkhaul.s3.credentials import CredentialPool, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.providers import default_chain
from bulkhaul.s3.token import Token
from check.checking import BUCKET, add, check, make_dataset, notices, problems
from servers.stub.script import refuse
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.slow  # a server a test


def test_no_credentials_are_told_once_and_beat_lesser_problems(tmp_path, joblist, stub, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    add(joblist, "gone", tmp_path / "gone", f"s3://{BUCKET}/J0/p")
    for batch in ("J1", "J2", "J3"):
        add(joblist, batch, make_dataset(tmp_path / batch), f"s3://{BUCKET}/{batch}/p")

    report = check(joblist)

    assert [problem for problem in problems(report) if "no credentials" in problem] == problems(report)[1:]
    assert len(problems(report)) == 2
    assert report.exit_code == 77


def test_one_prefix_without_a_grant_does_not_hide_the_others(tmp_path, joblist, stub):
    for batch in ("J1", "J2", "J3"):
        add(joblist, batch, make_dataset(tmp_path / batch), f"s3://{BUCKET}/{batch}/p")
    chain = default_chain(S3Options())

    def provide(location: S3Location) -> Grant:
        if location.prefix.startswith("J2"):
            raise CredentialsError(location, "no matching grant", "ask for one")
        return Grant(chain(location).token, covers=location)

    pool = CredentialPool(provide)
    report = check(joblist, lambda location: connect(location, options=S3Options(), credentials=pool))

    assert problems(report) == ["s3://bkt/J2/p: no matching grant"]
    assert {entry.key.split("/")[0] for entry in stub.log.entries if entry.operation == "PutObject"} == {"J1", "J3"}


def connector_with_token(stub: StubS3, life: float, *, renewable: bool) -> Callable[[S3Location], Connection]:
    issued = stub.tokens.issue(life)
    assert issued.ends_at is not None
    end = datetime.fromtimestamp(issued.ends_at, UTC)
    token = Token(issued.access_key, issued.secret_key, issued.session_token, end)
    pool = CredentialPool(lambda _: Grant(token, renewable=renewable))
    return lambda location: connect(location, options=S3Options(), credentials=pool)


def test_fixed_keys_that_end_within_a_transfer_are_told(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"))

    report = check(joblist, connector_with_token(stub, 3600, renewable=False))

    assert report.exit_code == 0
    assert any("the credentials are fixed and end in 59 minutes" in notice for notice in notices(report))


@pytest.mark.parametrize(("life", "renewable"), [(3600, True), (13 * 3600, False)])
def test_keys_that_last_or_are_renewed_are_fine(tmp_path, joblist, stub, life, renewable):
    add(joblist, "a", make_dataset(tmp_path / "a"))

    report = check(joblist, connector_with_token(stub, life, renewable=renewable))

    assert not any("credentials" in notice for notice in notices(report))
    assert report.exit_code == 0


def test_ended_keys_are_a_problem(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"))

    report = check(joblist, connector_with_token(stub, -60, renewable=False))

    (problem,) = problems(report)
    assert "ended at" in problem
    assert report.exit_code == 77


def test_a_wrong_secret_is_a_problem_and_the_secret_is_not_told(tmp_path, joblist, stub, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "top-secret-value")
    stub.script.plan("*", refuse(403, "SignatureDoesNotMatch"), times=1000)
    add(joblist, "a", make_dataset(tmp_path / "a"))

    report = check(joblist)

    assert report.exit_code == 77
    assert "top-secret-value" not in str(report)
