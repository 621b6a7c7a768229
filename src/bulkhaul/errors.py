"""One tree of errors: each names the thing, the reason and the next step, and carries its exit code.

Errors are translated where they arise (`fsio` for the joblist's storage, `s3/` for boto3 and obstore) and printed in
`cli/` alone. A class exists where some caller acts on it; everything else is text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

OK = 0


class BulkhaulError(Exception):
    """An error for a person: `thing: reason; next step`, with the exit code of its class."""

    exit_code: ClassVar[int] = 1

    def __init__(self, thing: object, reason: str, next_step: str) -> None:
        super().__init__(thing, reason, next_step)
        self.thing = str(thing)
        self.reason = reason
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.thing}: {self.reason}; {self.next_step}"


class UsageError(BulkhaulError):
    """A setting, option or argument that cannot be used."""

    exit_code = 2


class JobsFailed(BulkhaulError):
    """Some jobs ended in `error`, or a verification failed."""

    exit_code = 3


class InvalidJobFile(BulkhaulError):
    """A job file that cannot be read as one."""

    exit_code = 65


class SourceError(BulkhaulError):
    """A results folder, dataset or file that cannot be read as it should."""

    exit_code = 66


class SourceChanged(SourceError):
    """A file that was not the same before and after it was read."""


class StorageError(BulkhaulError):
    """The joblist's own storage failed: full, quota, read-only, no right, I/O error."""

    exit_code = 74


class Stopped(BulkhaulError):
    """Work was left on purpose: time limit, signal or deadline."""

    exit_code = 75


class Interrupted(Stopped):
    """The person pressed Ctrl-C."""

    exit_code = 130


class ClaimLost(BulkhaulError):
    """A newer generation owns the job: whoever sees this touches nothing more of it."""

    exit_code = 75


class S3Error(BulkhaulError):
    """A request that S3, or the way to it, refused; `code` is S3's own error code."""

    exit_code = 69

    def __init__(self, thing: object, reason: str, next_step: str, *, code: str = "") -> None:
        super().__init__(thing, reason, next_step)
        self.code = code


class Throttled(S3Error):
    """S3 asks for fewer requests (503 SlowDown, 429): slow down, then repeat."""


class Transient(S3Error):
    """A fault that a repetition may cure: 5xx, reset, timeout, name resolution."""


class Unreachable(Transient):
    """No connection to the endpoint at all; a repetition may cure it, a worker's start cannot wait for it."""


class IntegrityFailed(S3Error):
    """What arrived is not what was sent (BadDigest and its kin): read again, repeat once."""

    exit_code = 3


class UploadGone(S3Error):
    """The multipart upload or a part of it does not exist any more: begin this file anew."""


class NoSuchObject(S3Error):
    """The key does not exist."""


class ObjectRefused(S3Error):
    """S3 refuses this object for good (name, size, argument); no repetition helps."""

    exit_code = 3


class BucketUnusable(S3Error):
    """The bucket is missing, in another region, or its server lacks what a safe transfer needs."""


class ListingOutOfOrder(S3Error):
    """The server did not list in byte order; the streamed plan is void, list through a sorted spill."""


class ClockSkewed(S3Error):
    """This machine's clock is more than S3's 15 minutes off, so no request can be signed."""


class CredentialsError(S3Error):
    """No usable credentials, or none with the right for this."""

    exit_code = 77


class CredentialsExpired(CredentialsError):
    """The token has ended; a refresh and a repetition cure it and cost no retry."""


class ProviderFailed(CredentialsError):
    """What has given credentials before gives none now; asking again may cure it."""


class AccessDenied(CredentialsError):
    """The credentials are good and lack a right."""


class NoMatchingGrant(AccessDenied):
    """S3 Access Grants have none for this location; they may have one for another."""


# design.md section 6: where several hold, the first of these wins.
_RANK = (130, 77, 74, 69, 75, 3)


def combined_exit_code(codes: Iterable[int]) -> int:
    """The one exit code for a command whose parts ended with `codes`; 0 for none."""
    seen = set(codes) - {OK}
    for code in _RANK:
        if code in seen:
            return code
    return min(seen, default=OK)
