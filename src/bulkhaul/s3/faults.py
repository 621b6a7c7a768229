"""One table from S3's error codes to our classes, for both libraries (pure).

A code decides first; an answer without a body (HEAD, proxies) has only its status. Codes that no row names fall back to
the status, so that an unknown server's 5xx is still repeated and its 4xx still surfaces at once.
"""

from __future__ import annotations

from typing import NamedTuple

from bulkhaul.errors import (
    AccessDenied,
    BucketUnusable,
    ClockSkewed,
    CredentialsError,
    CredentialsExpired,
    IntegrityFailed,
    NoSuchObject,
    ObjectRefused,
    S3Error,
    Throttled,
    Transient,
    UploadGone,
)


class _Fault(NamedTuple):
    """What a code means: our class, the reason in plain words, the next step."""

    kind: type[S3Error]
    reason: str
    next_step: str


ENDPOINT_STEP = "check the endpoint (`endpoint_url`, AWS_ENDPOINT_URL), the network and the proxy"
"""What to do where no connection is to be had."""

HEAD_REFUSED = "HeadRefused"
"""Our own code for HEAD's answer 400, which has no body: an ended token, or another region. Others say which."""

_AGAIN = "it is repeated by itself; run the step again if it lasts"
_THROTTLED = _Fault(Throttled, "S3 asks for fewer requests", "it slows down by itself; use fewer workers if it lasts")
_BUSY = _Fault(Transient, "the server failed", _AGAIN)
_SLOW = _Fault(Transient, "the request took too long", _AGAIN)
_ENDED = _Fault(CredentialsExpired, "the credentials have ended", "log in again, or name a provider that renews them")
_UNKNOWN_KEY = _Fault(CredentialsError, "the access key is unknown to S3", "check AWS_ACCESS_KEY_ID, or the profile")
_UNKNOWN = _Fault(
    CredentialsExpired, "the server does not take the credentials, or no more", "log in again, or check the access key"
)
_DENIED = _Fault(
    AccessDenied, "S3 refuses the access", "ask the bucket's owner for the right, or use other credentials"
)
_NO_BUCKET = _Fault(BucketUnusable, "the bucket does not exist", "check the target's name and the endpoint")
_REGION_STEP = "set the bucket's own region (`region`, AWS_REGION)"
_ELSEWHERE = _Fault(BucketUnusable, "the bucket lies in another region", _REGION_STEP)
_DAMAGED = _Fault(
    IntegrityFailed,
    "what arrived is not what was sent: source, memory or network is unstable",
    "it is read and sent once more; then check this machine",
)
_GONE = _Fault(UploadGone, "the multipart upload is gone", "it is begun anew by itself")
_NO_KEY = _Fault(NoSuchObject, "the object does not exist", "check the key, or transfer the dataset again")
_REFUSED = _Fault(ObjectRefused, "S3 refuses this object", "see the reason it gives; a repetition cannot help")
_SKEWED = _Fault(ClockSkewed, "this machine's clock is more than 15 minutes off", "set the clock (NTP), then run again")
_LACKING = _Fault(
    BucketUnusable, "the server does not know this request", "use another endpoint, or `--engine s3transfer`"
)

_CODES: dict[str, _Fault] = {
    **dict.fromkeys(
        (
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "ServerBusy",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "TooManyRequests",
            "TooManyRequestsException",
            "RequestThrottled",
            "RequestThrottledException",
            "ReducedRequestRate",
        ),
        _THROTTLED,
    ),
    **dict.fromkeys(("InternalError", "InternalFailure", "ServiceUnavailable", "OperationAborted"), _BUSY),
    **dict.fromkeys(("RequestTimeout", "RequestTimeoutException", "IncompleteBody"), _SLOW),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"), _ENDED),
    **dict.fromkeys(("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"), _UNKNOWN_KEY),
    "SignatureDoesNotMatch": _Fault(
        CredentialsError, "the secret key does not belong to the access key", "check AWS_SECRET_ACCESS_KEY"
    ),
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AccountProblem"), _DENIED),
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": _Fault(BucketUnusable, "S3 takes no bucket of this name", "check the target"),
    **dict.fromkeys(
        (
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ),
        _ELSEWHERE,
    ),
    **dict.fromkeys(("NotImplemented", "MethodNotAllowed"), _LACKING),
    **dict.fromkeys(
        ("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"), _DAMAGED
    ),
    **dict.fromkeys(("NoSuchUpload", "InvalidPart", "InvalidPartOrder"), _GONE),
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion"), _NO_KEY),
    "KeyTooLongError": _Fault(ObjectRefused, "the key is too long", "shorten the path; S3 takes 1,024 bytes"),
    "EntityTooLarge": _Fault(ObjectRefused, "the file is too large for one request", "lower the multipart threshold"),
    "EntityTooSmall": _Fault(ObjectRefused, "a part is smaller than S3 takes", "use parts of at least 5 MiB"),
    "RequestTimeTooSkewed": _SKEWED,
    HEAD_REFUSED: _Fault(
        CredentialsExpired,
        "S3 gives no reason; the credentials may have ended, or the bucket lies in another region",
        f"log in again, and {_REGION_STEP}",
    ),
}

_STATUSES: dict[int, _Fault] = {
    301: _ELSEWHERE,
    307: _ELSEWHERE,
    401: _UNKNOWN,
    403: _DENIED,
    404: _NO_KEY,
    405: _LACKING,
    408: _SLOW,
    429: _THROTTLED,
    501: _LACKING,
}


def translate(code: str, status: int, message: str, *, thing: str) -> S3Error:
    """The error of ours for S3's `code` (may be empty), HTTP `status` (0: none) and its own `message` about `thing`."""
    fault = _fault(code, status, message)
    said = ": ".join(part for part in ("" if _is_status(code) else _line(code), _line(message)) if part)
    reason = f"{fault.reason} ({said})" if said else f"{fault.reason} (status {status})"
    return fault.kind(thing, reason, fault.next_step, code=code)


def _fault(code: str, status: int, message: str) -> _Fault:
    if code in _CODES:
        return _CODES[code]
    # Presigned requests and some gateways say it in words only.
    if "request has expired" in message.lower():
        return _ENDED
    if _is_status(code) and not status:
        status = int(code)
    if status in _STATUSES:
        return _STATUSES[status]
    return _BUSY if status >= 500 or status == 0 else _REFUSED


def _is_status(code: str) -> bool:
    """Whether a code is only the status of an answer without a body, as boto3 writes it."""
    return code.isascii() and code.isdecimal()


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
