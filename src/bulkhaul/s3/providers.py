"""Where tokens come from: AWS's default chain, S3 Access Grants, AssumeRole, or a command of the site's own.

Each function returns a provider: a callable that fetches one grant for a location and repeats what a repetition cures.
Renewal, sharing and windows are the business of `credentials.CredentialSource`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import botocore.credentials

from bulkhaul import proc
from bulkhaul.errors import (
    AccessDenied,
    BucketUnusable,
    CredentialsError,
    NoMatchingGrant,
    NoSuchObject,
    ObjectRefused,
    Transient,
    UsageError,
)
from bulkhaul.s3.client import make_client, open_session, read_configuration, s3_errors
from bulkhaul.s3.credentials import Grant, Provider
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.policy import RetryPolicy
from bulkhaul.s3.retry import repeat
from bulkhaul.s3.token import Token

LONGEST_GRANT = 43_200
"""Seconds: the longest life that S3 Access Grants give a token (12 hours)."""

# A provider is asked while transfers wait for it: about ten seconds of repetition, then the answer counts.
_POLICY = RetryPolicy(tries=5, first_pause=0.5, longest_pause=5.0, throttle_budget=60.0)
_COMMAND_SECONDS = 60.0


def default_chain(options: S3Options) -> Provider:
    """AWS's own chain: variables, profile, SSO, role, container, instance; read anew at each renewal.

    Raises:
        UsageError: no such profile. The provider raises CredentialsError when the chain is empty.
    """
    read_configuration(options)

    def provide(location: S3Location) -> Grant:
        with s3_errors(location):
            # A new session each time sees keys that a person has replaced, and renews without botocore's windows.
            found = open_session(options).get_credentials()
            if found is None:
                raise CredentialsError(
                    location,
                    "no credentials",
                    "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in",
                )
            frozen = _frozen(found, location)
        renewable = isinstance(found, botocore.credentials.RefreshableCredentials) and found.method != "env"
        token = Token(frozen.access_key, frozen.secret_key, frozen.token or None, _end(found))
        return Grant(token, renewable=renewable)

    return provide


def access_grants(
    account: str,
    options: S3Options,
    *,
    target: S3Location | None = None,
    permission: Literal["READ", "WRITE", "READWRITE"] = "READWRITE",
    privilege: Literal["Minimal", "Default"] = "Default",
    duration: int = LONGEST_GRANT,
) -> Provider:
    """S3 Access Grants of `account` (12 digits), signed by the default chain; `duration` in seconds, 900 to 43,200.

    Each location gets the grant that matches it; `target` asks for one wider location instead, where it covers.
    The provider raises CredentialsError when no grant matches.
    """
    if not (account.isdigit() and len(account) == 12):
        raise UsageError(
            f"account {account!r}", "not an AWS account number", "give the 12 digits of the bucket's owner"
        )

    def provide(location: S3Location) -> Grant:
        wanted = target if target is not None and target.covers(location) else location
        asked = {"Target": f"{wanted}/*", "Permission": permission, "Privilege": privilege, "DurationSeconds": duration}
        answer = _data_access(options, account, asked)
        matched = str(answer.get("MatchedGrantTarget", ""))
        covers = wanted if privilege == "Minimal" else matched_location(matched, wanted)
        return Grant(_token(answer["Credentials"]), covers=covers)

    return provide


def _data_access(options: S3Options, account: str, asked: Mapping[str, Any]) -> Any:
    client = make_client("s3control", options, source=None)
    thing = f"access grant of account {account} for {asked['Target']}"
    try:
        return repeat(_request(lambda: client.get_data_access(AccountId=account, **asked), thing), policy=_POLICY)
    except (AccessDenied, NoSuchObject, ObjectRefused, BucketUnusable) as error:
        # A denial may hold for this prefix alone; a missing account or instance never does.
        kind = NoMatchingGrant if isinstance(error, AccessDenied) else CredentialsError
        raise kind(
            thing,
            f"no matching grant: {error.reason}",
            f"check account and target, or ask the bucket's owner for a {asked['Permission']} grant",
            code=error.code,
        ) from error


def matched_location(matched: str, asked: S3Location) -> S3Location:
    """The location that a grant's `matched` target (`s3://bucket/prefix*`) surely covers; at least `asked` (pure)."""
    bucket, _, pattern = matched.removeprefix("s3://").partition("/")
    stem = pattern.removesuffix("*")
    # `a/b*` is good for `a/bc` too, which no location says; what was asked for is then all that is claimed.
    if bucket == asked.bucket and pattern.endswith("*") and stem.endswith("/"):
        return S3Location(bucket, stem.strip("/"))
    if bucket == asked.bucket and pattern == "*":
        return S3Location(bucket)
    return asked


def assume_role(role: str, options: S3Options) -> Provider:
    """The role of ARN `role`, taken through STS by the default chain for an hour, the most that each role allows."""

    def provide(_location: S3Location) -> Grant:
        client = make_client("sts", options, source=None)
        request = _request(lambda: client.assume_role(RoleArn=role, RoleSessionName="bulkhaul"), f"role {role}")
        answer = repeat(request, policy=_POLICY)
        return Grant(_token(answer["Credentials"]))

    return provide


def command(arguments: Sequence[str]) -> Provider:
    """A program that prints AWS's credential_process JSON (version 1) within a minute; run at each renewal."""
    if not arguments:
        raise UsageError("credentials command", "it is empty", "give the program and its arguments")
    thing = f"credentials command {arguments[0]}"

    def provide(_location: S3Location) -> Grant:
        done = proc.run(arguments, timeout=_COMMAND_SECONDS)
        if done.code != 0:
            # The last line of stderr is the program's own reason; stdout may hold keys and is never shown.
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise CredentialsError(thing, f"exit code {done.code}: {said}", "run it by hand")
        return Grant(parse_process_output(done.stdout, thing=thing))

    return provide


def parse_process_output(text: str, *, thing: str) -> Token:
    """The token in credential_process JSON (pure).

    Raises:
        CredentialsError: not that JSON; its text, which may hold a key, is not repeated.
    """
    step = "make it print credential_process JSON: Version 1, AccessKeyId, SecretAccessKey, SessionToken, Expiration"
    try:
        said: Any = json.loads(text)
        if not isinstance(said, dict) or said.get("Version") != 1:
            raise CredentialsError(thing, "its output is not credential_process JSON of version 1", step)
        return _token(said)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else "its output cannot be read"
        raise CredentialsError(thing, reason, step) from None


def _token(said: Any) -> Token:
    """AWS's four names for a token, as JSON or as boto3 gives them; KeyError or ValueError when it is none."""
    access_key, secret_key, end = said["AccessKeyId"], said["SecretAccessKey"], said.get("Expiration")
    if isinstance(end, str):
        end = datetime.fromisoformat(end)
    texts = isinstance(access_key, str) and isinstance(secret_key, str) and access_key and secret_key
    if not texts or not (end is None or isinstance(end, datetime)):
        raise ValueError("not a token")
    if end is not None:
        end = end.replace(tzinfo=UTC) if end.tzinfo is None else end.astimezone(UTC)
    return Token(access_key, secret_key, said.get("SessionToken"), end)


def _request(call: Callable[[], Any], thing: str) -> Callable[[], Any]:
    def request() -> Any:
        with s3_errors(thing):
            answer = call()
        try:
            _token(answer["Credentials"])
        except (KeyError, ValueError):
            raise Transient(thing, "the answer has no credentials", "check the endpoint and the proxy") from None
        return answer

    return request


def _frozen(found: botocore.credentials.Credentials, location: S3Location) -> Any:
    try:
        return found.get_frozen_credentials()
    except RuntimeError as error:
        # botocore's word for credentials that had ended before it was asked.
        raise CredentialsError(location, f"no usable credentials: {error}", "log in again") from error


def _end(found: botocore.credentials.Credentials) -> datetime | None:
    # botocore tells the end of its own tokens to nobody; without it they would only be renewed after a refusal.
    end: datetime | None = getattr(found, "_expiry_time", None)
    return None if end is None else end.astimezone(UTC)
