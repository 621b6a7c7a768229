"""Keys from STS (moto) and from a command of the site."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkhaul.errors import CredentialsError, UsageError
from bulkhaul.s3.credentials import CredentialSource
from bulkhaul.s3.providers import (
    assume_role,
    command,
    parse_process_output,
)
from s3.keys import ACCOUNT, OPTIONS, TARGET
from servers.moto import MotoServer


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
