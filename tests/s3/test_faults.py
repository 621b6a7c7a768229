"""Each of S3's codes becomes the class that says what to do about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhaul import errors
from bulkhaul.s3.faults import translate


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SlowDown", 503, errors.Throttled),
        ("TooManyRequests", 429, errors.Throttled),
        ("RequestLimitExceeded", 400, errors.Throttled),
        ("ThrottlingException", 400, errors.Throttled),
        ("InternalError", 500, errors.Transient),
        ("ServiceUnavailable", 503, errors.Transient),
        ("RequestTimeout", 400, errors.Transient),
        ("IncompleteBody", 400, errors.Transient),
        ("ExpiredToken", 400, errors.CredentialsExpired),
        ("ExpiredTokenException", 403, errors.CredentialsExpired),
        ("InvalidToken", 400, errors.CredentialsExpired),
        ("InvalidAccessKeyId", 403, errors.CredentialsError),
        ("SignatureDoesNotMatch", 403, errors.CredentialsError),
        ("AccessDenied", 403, errors.AccessDenied),
        ("NoSuchBucket", 404, errors.BucketUnusable),
        ("PermanentRedirect", 301, errors.BucketUnusable),
        ("AuthorizationHeaderMalformed", 400, errors.BucketUnusable),
        ("NotImplemented", 501, errors.BucketUnusable),
        ("BadDigest", 400, errors.IntegrityFailed),
        ("XAmzContentSHA256Mismatch", 400, errors.IntegrityFailed),
        ("NoSuchUpload", 404, errors.UploadGone),
        ("InvalidPart", 400, errors.UploadGone),
        ("NoSuchKey", 404, errors.NoSuchObject),
        ("KeyTooLongError", 400, errors.ObjectRefused),
        ("EntityTooLarge", 400, errors.ObjectRefused),
        ("PreconditionFailed", 412, errors.ObjectRefused),
        ("RequestTimeTooSkewed", 403, errors.ClockSkewed),
    ],
)
def test_a_code_decides_the_class(code: str, status: int, kind: type[errors.S3Error]) -> None:
    error = translate(code, status, "said the server", thing="s3://bucket/key")

    assert type(error) is kind
    assert error.code == code
    assert str(error).startswith("s3://bucket/key: ")
    assert f"({code}: said the server)" in error.reason


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, errors.BucketUnusable),
        (400, errors.ObjectRefused),
        (401, errors.CredentialsExpired),
        (403, errors.AccessDenied),
        (404, errors.NoSuchObject),
        (408, errors.Transient),
        (412, errors.ObjectRefused),
        (429, errors.Throttled),
        (500, errors.Transient),
        (502, errors.Transient),
        (504, errors.Transient),
        (599, errors.Transient),
    ],
)
def test_an_answer_without_a_body_is_judged_by_its_status(status: int, kind: type[errors.S3Error]) -> None:
    # boto3 writes the status into the code of a HEAD, obstore leaves the code empty.
    assert type(translate(str(status), status, "", thing="x")) is kind
    assert type(translate("", status, "", thing="x")) is kind


def test_a_refusal_whose_code_no_row_names_is_permanent_and_keeps_the_servers_words() -> None:
    error = translate("OddPolicyViolation", 400, "no blue objects\nafter noon", thing="x")

    assert type(error) is errors.ObjectRefused
    assert "OddPolicyViolation: no blue objects after noon" in error.reason


def test_an_expired_presigned_request_is_an_ended_token_though_its_code_says_denied() -> None:
    assert type(translate("", 403, "Request has expired", thing="x")) is errors.CredentialsExpired


@given(st.text(max_size=20) | st.sampled_from(["SlowDown", "AccessDenied"]), st.integers(0, 599), st.text(max_size=60))
def test_whatever_a_server_says_becomes_one_error_of_one_line(code: str, status: int, message: str) -> None:
    error = translate(code, status, message, thing="x")

    assert isinstance(error, errors.S3Error)
    assert error.reason
    assert error.next_step
    assert len(str(error).splitlines()) == 1
