"""Keys from S3 Access Grants (the stub): what is asked for, what it covers, each refusal in one line."""

from __future__ import annotations

import pytest

from bulkhaul.errors import CredentialsError, UsageError
from bulkhaul.s3.credentials import CredentialPool
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.providers import (
    access_grants,
    matched_location,
)
from s3.keys import ACCOUNT, OPTIONS, TARGET
from servers.stub import script
from servers.stub.message import Answer
from servers.stub_s3 import StubS3


@pytest.fixture
def grants(stub: StubS3, monkeypatch: pytest.MonkeyPatch) -> StubS3:
    """The stub with a grant for `bucket/lab/*`, and this process's AWS variables pointing to it."""
    stub.grants.targets.append("s3://bucket/lab/*")
    for name, value in stub.environment(stub.tokens.issue(None)).items():
        monkeypatch.setenv(name, value)
    return stub


def test_a_grant_is_asked_for_with_account_target_permission_privilege_and_duration(grants: StubS3) -> None:
    grant = access_grants(ACCOUNT, OPTIONS)(TARGET)

    (entry,) = grants.log.entries
    assert entry.headers["x-amz-account-id"] == ACCOUNT
    assert entry.headers["host"] == f"{ACCOUNT}.s3control.test"
    assert entry.query == {
        "target": "s3://bucket/lab/plate/*",
        "permission": "READWRITE",
        "privilege": "Default",
        "durationSeconds": "43200",
    }
    assert grant.covers == S3Location("bucket", "lab")
    assert grant.renewable
    assert grant.token.session_token
    assert grant.token.expires_at is not None


NO_KEYS = b"<GetDataAccessResult><Credentials><AccessKeyI></AccessKeyI></Credentials></GetDataAccessResult>"


@pytest.mark.parametrize("body", [b"", b"<x/>", b"<html><p>Please log in<br></html>", NO_KEYS])
def test_an_answer_without_credentials_is_asked_for_again(grants: StubS3, body: bytes) -> None:
    grants.script.plan("GetDataAccess", lambda _request, _serve: Answer(200, body))

    assert access_grants(ACCOUNT, OPTIONS)(TARGET).token.session_token
    assert grants.log.counts()["GetDataAccess"] == 2


def test_one_grant_serves_all_datasets_below_it_and_the_next_prefix_gets_its_own(grants: StubS3) -> None:
    grants.grants.targets.append("s3://bucket/other/*")
    pool = CredentialPool(access_grants(ACCOUNT, OPTIONS))

    for prefix in ("lab/a", "lab/b", "other/c", "lab/d"):
        pool.for_location(S3Location("bucket", prefix)).token()

    assert grants.log.counts()["GetDataAccess"] == 2


def test_least_privilege_covers_only_what_was_asked_for(grants: StubS3) -> None:
    grant = access_grants(ACCOUNT, OPTIONS, privilege="Minimal", permission="WRITE", duration=900)(TARGET)

    assert grant.covers == TARGET
    assert grants.log.entries[0].query["durationSeconds"] == "900"


def test_a_wider_target_is_asked_for_where_it_covers_the_dataset(grants: StubS3) -> None:
    provide = access_grants(ACCOUNT, OPTIONS, target=S3Location("bucket", "lab"))
    provide(TARGET)
    with pytest.raises(CredentialsError):
        provide(S3Location("bucket", "elsewhere"))

    assert [entry.query["target"] for entry in grants.log.entries] == ["s3://bucket/lab/*", "s3://bucket/elsewhere/*"]


def test_no_matching_grant_names_account_and_target_and_what_to_do(grants: StubS3) -> None:
    with pytest.raises(CredentialsError, match="no matching grant") as caught:
        access_grants(ACCOUNT, OPTIONS)(S3Location("bucket", "elsewhere"))

    assert ACCOUNT in str(caught.value)
    assert "s3://bucket/elsewhere/*" in str(caught.value)
    assert "ask the bucket's owner" in caught.value.next_step


def test_an_account_without_grants_is_one_clear_line(grants: StubS3) -> None:
    with pytest.raises(CredentialsError, match="210987654321"):
        access_grants("210987654321", OPTIONS)(TARGET)


def test_an_account_that_is_no_number_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="12 digits"):
        access_grants("my-account", OPTIONS)


def test_a_busy_service_is_asked_again(grants: StubS3) -> None:
    grants.script.plan("GetDataAccess", script.refuse(503, "ServiceUnavailable"))

    access_grants(ACCOUNT, OPTIONS)(TARGET)

    assert grants.log.statuses("GetDataAccess") == [503, 200]


def test_a_login_that_has_ended_is_not_called_a_missing_grant(grants: StubS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NOSUCHKEY")

    with pytest.raises(CredentialsError, match="the access key is unknown"):
        access_grants(ACCOUNT, OPTIONS)(TARGET)


@pytest.mark.parametrize(
    ("matched", "covers"),
    [
        ("s3://bucket/lab/*", S3Location("bucket", "lab")),
        ("s3://bucket/*", S3Location("bucket")),
        ("s3://bucket*", TARGET),
        ("s3://bucket/", TARGET),
        ("s3://bucket/lab/plate/*", TARGET),
        ("s3://bucket/la*", TARGET),
        ("s3://bucket/lab/plate*", TARGET),
        ("s3://bucket/lab/plate/one.tif", TARGET),
        ("s3://elsewhere/*", TARGET),
    ],
)
def test_a_grant_covers_whole_folders_and_at_least_what_was_asked_for(matched: str, covers: S3Location) -> None:
    assert matched_location(matched, TARGET) == covers
