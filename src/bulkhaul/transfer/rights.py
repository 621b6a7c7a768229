"""The least rights of a worker or an auditor in S3, as an IAM policy (pure).

What is granted follows from the requests that the code makes; a test judges all requests of whole transfers by it.
Statements whose name begins with `Optional` may be taken out: each has a mode that works without (docs/security.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from bulkhaul.s3.location import S3Location
from bulkhaul.s3.probe import PROBE_NAME
from bulkhaul.transfer.publish import MANIFEST_SUFFIX

Statement = dict[str, object]


class Role(StrEnum):
    """Whose rights: who sends datasets, or who only compares them again."""

    WORKER = "worker"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the rights hold: the location as a target of its own (`itself`), targets below it (`below`), or both."""

    location: S3Location
    itself: bool = True
    below: bool = True

    def with_target(self, target: S3Location) -> Scope:
        """The narrowest scope that has `target`, of the same bucket, too."""
        if target == self.location:
            return Scope(target, itself=True, below=self.below)
        common = _common_folder(self.location, target)
        itself = common == target or (common == self.location and self.itself)
        return Scope(common, itself=itself, below=True)


def least_scopes(targets: Iterable[S3Location]) -> list[Scope]:
    """One scope a bucket, as narrow as one folder can be around its targets."""
    scopes: dict[str, Scope] = {}
    for target in targets:
        known = scopes.get(target.bucket)
        scopes[target.bucket] = known.with_target(target) if known else Scope(target, below=False)
    return list(scopes.values())


def policy_document(role: Role, scopes: Iterable[Scope], *, region: str | None = None) -> dict[str, object]:
    """The policy document for `role` in all `scopes`; `region` only says which of AWS's partitions it is for."""
    arn = f"arn:{_partition(region or '')}:s3:::"
    statements: list[Statement] = []
    for number, scope in enumerate(scopes, 1):
        found = _worker(scope, arn) if role is Role.WORKER else _auditor(scope, arn)
        statements += ({**each, "Sid": f"{each['Sid']}{number if number > 1 else ''}"} for each in found)
    return {"Version": "2012-10-17", "Statement": statements}


def _worker(scope: Scope, arn: str) -> Iterator[Statement]:
    bucket, objects = f"{arn}{scope.location.bucket}", _objects(scope)
    yield _list(scope, bucket)
    yield _allow("Send", "s3:PutObject", bucket, objects)  # objects, and all of a multipart upload but its end
    yield _allow("OptionalHead", "s3:GetObject", bucket, objects)
    yield _allow("OptionalAdoptParts", "s3:ListMultipartUploadParts", bucket, objects)
    yield _allow("OptionalAbort", "s3:AbortMultipartUpload", bucket, objects)
    yield _allow("OptionalRemoveProbe", "s3:DeleteObject", bucket, _probes(scope))
    # S3 knows no condition on the prefix for this one: it tells of the uploads of the whole bucket.
    yield _allow("OptionalFindUploads", "s3:ListBucketMultipartUploads", bucket)


def _auditor(scope: Scope, arn: str) -> Iterator[Statement]:
    bucket = f"{arn}{scope.location.bucket}"
    yield _list(scope, bucket, manifests=False)
    yield _allow("OptionalHead", "s3:GetObject", bucket, _objects(scope, manifests=False))


def _list(scope: Scope, bucket: str, *, manifests: bool = True) -> Statement:
    statement = _allow("List", "s3:ListBucket", bucket)
    if scope.location.prefix:
        statement["Condition"] = {"StringLike": {"s3:prefix": _objects(scope, manifests=manifests)}}
    return statement


def _allow(sid: str, action: str, bucket: str, keys: Iterable[str] | None = None) -> Statement:
    resources = [bucket] if keys is None else [f"{bucket}/{key}" for key in keys]
    return {"Sid": sid, "Effect": "Allow", "Action": action, "Resource": resources}


def _objects(scope: Scope, *, manifests: bool = True) -> list[str]:
    prefix = _escaped(scope.location.prefix)
    beside = [f"{prefix}{MANIFEST_SUFFIX}"] if manifests and prefix and scope.itself else []
    return [_escaped(scope.location.listing_prefix) + "*", *beside]


def _probes(scope: Scope) -> list[str]:
    folder = _escaped(scope.location.listing_prefix)
    own = [f"{folder}{PROBE_NAME}*"] if scope.itself else []
    return [*own, *([f"{folder}*/{PROBE_NAME}*"] if scope.below else [])]


def _escaped(text: str) -> str:
    """Text that a pattern of IAM's takes as it stands."""
    return re.sub(r"[*?$]", lambda sign: f"${{{sign[0]}}}", text)


def _partition(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _common_folder(one: S3Location, other: S3Location) -> S3Location:
    common = []
    for left, right in zip(one.prefix.split("/"), other.prefix.split("/"), strict=False):
        if left != right:
            break
        common.append(left)
    return S3Location(one.bucket, "/".join(common))
