"""Keys from the places that AWS names: variables, profiles, files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkhaul.errors import CredentialsError, UsageError
from bulkhaul.s3.credentials import CredentialSource
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.providers import (
    default_chain,
)
from bulkhaul.s3.token import Token
from s3.keys import OPTIONS, TARGET


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
