"""IAM's judgement of S3 requests by one policy document: as much of it as such policies use; no code of bulkhaul's.

Which right an operation takes is from AWS's table "Required permissions for Amazon S3 API operations".
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servers.stub.message import Request

_OBJECT_ACTIONS = {
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
}
_BUCKET_ACTIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as IAM sees it: the right, the resource, the values that conditions may look at."""

    action: str
    resource: str
    context: Mapping[str, str]


def asked_by(request: Request) -> Asked:
    """What IAM is asked for `request`; an operation that this table does not know asks for what nobody grants."""
    bucket = f"arn:aws:s3:::{request.bucket}"
    if request.operation in _BUCKET_ACTIONS:
        listing = request.operation == "ListObjectsV2" and "prefix" in request.query
        context = {"s3:prefix": request.query["prefix"]} if listing else {}
        return Asked(_BUCKET_ACTIONS[request.operation], bucket, context)
    action = _OBJECT_ACTIONS.get(request.operation, f"unknown:{request.operation}")
    return Asked(action, f"{bucket}/{request.key}", {})


def matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: `*` is any text, `?` one sign, `${*}` and the like the sign itself."""
    pieces = re.findall(r"\$\{[*?$]\}|.", pattern, re.DOTALL)
    signs = {"*": ".*", "?": "."}
    regex = "".join(signs.get(piece) or re.escape(piece[2] if len(piece) > 1 else piece) for piece in pieces)
    return re.fullmatch(regex, text, re.DOTALL) is not None


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def grant_of(statement: Mapping[str, Any], asked: Asked) -> tuple[str, str] | None:
    """The action and the resource pattern by which `statement` allows what is asked; None when it does not."""
    assert statement["Effect"] == "Allow"
    assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
    assert set(statement.get("Condition", {})) <= {"StringLike"}
    actions = [action for action in _listed(statement["Action"]) if matches(action, asked.action)]
    resources = [resource for resource in _listed(statement["Resource"]) if matches(resource, asked.resource)]
    for name, patterns in statement.get("Condition", {}).get("StringLike", {}).items():
        value = asked.context.get(name)  # without a value `StringLike` is not met
        if value is None or not any(matches(pattern, value) for pattern in _listed(patterns)):
            return None
    return (actions[0], resources[0]) if actions and resources else None


class PolicyJudge:
    """Allows what a policy grants; keeps what it denied, and which grants (Sid, action, resource) were used."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        assert document["Version"] == "2012-10-17"
        self._statements = document["Statement"]
        self._lock = threading.Lock()
        self.denied: list[Asked] = []
        self.used: set[tuple[str, str, str]] = set()

    @property
    def granted(self) -> set[tuple[str, str, str]]:
        """All that the policy grants."""
        return {
            (statement["Sid"], action, resource)
            for statement in self._statements
            for action in _listed(statement["Action"])
            for resource in _listed(statement["Resource"])
        }

    def __call__(self, request: Request) -> bool:
        """Judge one request."""
        asked = asked_by(request)
        with self._lock:
            for statement in self._statements:
                if (grant := grant_of(statement, asked)) is not None:
                    self.used.add((statement["Sid"], *grant))
                    return True
            self.denied.append(asked)
        return False
