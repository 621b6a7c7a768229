"""Each provider against the real thing it asks: files, processes, STS (moto), Access Grants (the stub)."""

from __future__ import annotations

import json
import os
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkhaul.errors import CredentialsError, UsageError
from bulkhaul.s3.client import S3Options
from bulkhaul.s3.credentials import CredentialPool, CredentialSource, Token
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.providers import (
    access_grants,
    assume_role,
    command,
    default_chain,
    matched_location,
    parse_process_output,
)
from servers.moto import MotoServer
from servers.stub import script
from servers.stub_s3 import StubS3

TARGET = S3Location("bucket", "lab/plate")
ACCOUNT = "123456789012"
OPTIONS = S3Options()


# --- the default chain -----------------------------------------------------------------------------------------------


@pytest.fixture
def keys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shared credentials file with the profiles `default` and `lab`."""
    path = tmp_path / "credentials"
    path.write_text(
        "[default]\naws_access_key_id = DEFAULTKEY\naws_secret_access_key = s1\n"
        "[lab]\naws_access_key_id = LABKEY\naws_secret_access_key = s2\naws_session_token = t2\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    return path


def test_no_credentials_anywhere_is_one_clear_line() -> None:
    with pytest.raises(CredentialsError, match="no credentials; set AWS_PROFILE") as caught:
        default_chain(OPTIONS)(TARGET)
    assert caught.value.exit_code == 77


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")

    grant = default_chain(OPTIONS)(TARGET)

    assert grant.token == Token("ENVKEY", "s", None, None)
    assert grant.covers is None
    assert not grant.renewable


def test_half_a_pair_of_keys_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")

    with pytest.raises(CredentialsError, match="no usable credentials"):
        default_chain(OPTIONS)(TARGET)


def test_keys_of_the_environment_whose_end_is_given_are_known_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())

    grant = default_chain(OPTIONS)(TARGET)

    assert grant.token.expires_at == end
    assert not grant.renewable


def test_keys_of_the_environment_that_have_ended_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")

    with pytest.raises(CredentialsError, match=r"(?i)expired"):
        default_chain(OPTIONS)(TARGET)


def test_a_profile_by_option_and_by_variable(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_chain(OPTIONS)(TARGET).token.access_key == "DEFAULTKEY"
    assert default_chain(S3Options(profile="lab"))(TARGET).token == Token("LABKEY", "s2", "t2")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert default_chain(OPTIONS)(TARGET).token.access_key == "LABKEY"


def test_a_profile_that_does_not_exist_is_a_usage_error_before_any_work(keys_file: Path) -> None:
    with pytest.raises(UsageError, match="nosuch"):
        default_chain(S3Options(profile="nosuch"))


def test_keys_that_a_person_has_replaced_are_found_by_a_renewal(keys_file: Path) -> None:
    source = CredentialSource(default_chain(OPTIONS), TARGET)
    used = source.token()
    keys_file.write_text(keys_file.read_text().replace("DEFAULTKEY", "NEWKEY"))

    source.renew(used)

    assert source.token().access_key == "NEWKEY"


def test_a_profile_that_renews_itself_keeps_doing_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printer: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {printer}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    source = CredentialSource(default_chain(OPTIONS), TARGET)

    first = source.token()
    source.renew(first)

    assert source.renewable
    assert first.expires_at is not None
    assert source.token().access_key != first.access_key


# --- S3 Access Grants ------------------------------------------------------------------------------------------------


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


# --- AssumeRole ------------------------------------------------------------------------------------------------------


def test_a_role_is_taken_through_sts(moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    grant = assume_role(f"arn:aws:iam::{ACCOUNT}:role/mover", OPTIONS)(TARGET)

    assert grant.renewable
    assert grant.token.session_token
    assert grant.token.expires_at is not None
    left = grant.token.expires_at - datetime.now(UTC)
    assert timedelta(minutes=58) < left <= timedelta(minutes=61), "the hour that every role allows"


def test_a_role_without_credentials_to_take_it_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    with pytest.raises(CredentialsError, match="no usable credentials"):
        assume_role(f"arn:aws:iam::{ACCOUNT}:role/mover", OPTIONS)(TARGET)


# --- a command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def printer(tmp_path: Path) -> Path:
    """A program that prints new keys of an hour at each call."""
    path = tmp_path / "print-keys"
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os\n"
        "from datetime import UTC, datetime, timedelta\n"
        "end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'KEY{os.getpid()}', 'SecretAccessKey': 's',"
        " 'SessionToken': 't', 'Expiration': end}))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_command_that_prints_keys_is_run_at_each_renewal(printer: Path) -> None:
    source = CredentialSource(command([str(printer)]), TARGET)
    first = source.token()
    source.renew(first)

    assert first.access_key.startswith("KEY")
    assert source.token().access_key != first.access_key
    assert source.renewable


def test_a_command_that_fails_says_its_own_reason_and_no_key() -> None:
    program = "import sys; print('AKIASECRET'); print('warming up', file=sys.stderr); sys.exit('no ticket for you')"

    with pytest.raises(CredentialsError, match="exit code 1: no ticket for you") as caught:
        command([sys.executable, "-c", program])(TARGET)
    assert "AKIASECRET" not in str(caught.value)


def test_a_command_that_does_not_exist_becomes_a_credentials_error(tmp_path: Path) -> None:
    source = CredentialSource(command([str(tmp_path / "nosuch")]), TARGET)

    with pytest.raises(CredentialsError, match="No such file"):
        source.token()


def test_an_empty_command_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="empty"):
        command([])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TOPSECRET",
        "[]",
        '"TOPSECRET"',
        '{"Version": 2, "AccessKeyId": "a", "SecretAccessKey": "TOPSECRET"}',
        '{"AccessKeyId": "a", "SecretAccessKey": "TOPSECRET"}',
        '{"Version": 1, "SecretAccessKey": "TOPSECRET"}',
        '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "TOPSECRET", "Expiration": "tomorrow"}',
        '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "TOPSECRET", "Expiration": 7}',
        '{"Version": 1, "AccessKeyId": null, "SecretAccessKey": "TOPSECRET"}',
    ],
)
def test_output_that_is_no_token_is_one_clear_line_without_a_secret(text: str) -> None:
    with pytest.raises(CredentialsError, match="credential_process") as caught:
        parse_process_output(text, thing="credentials command")

    assert "TOPSECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("end", ["2026-11-21T10:00:00Z", "2026-11-21T11:00:00+01:00", "2026-11-21T10:00:00"])
def test_the_end_is_read_in_any_zone(end: str) -> None:
    text = json.dumps({"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": end})

    token = parse_process_output(text, thing="x")

    assert token.expires_at == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert token.session_token is None


def test_no_provider_changes_the_environment(printer: Path) -> None:
    before = dict(os.environ)
    command([str(printer)])(TARGET)
    assert dict(os.environ) == before
