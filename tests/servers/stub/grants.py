"""S3 Access Grants: which targets may have tokens, and the answer to GetDataAccess."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from servers.stub.message import Answer, Request, error, tag, xml
from servers.stub.tokens import Tokens


@dataclass(slots=True)
class Grants:
    """The grants of one account: `targets` such as `s3://bucket/prefix/*`; each answer issues a token of `life` s.

    `said` is the life that the answers say, where that is not the truth.
    """

    tokens: Tokens
    account: str = "123456789012"
    targets: list[str] = field(default_factory=list)
    life: float = 3600.0
    said: float | None = None

    def serve(self, request: Request) -> Answer:
        """Answer GetDataAccess."""
        asked = request.query.get("target", "")
        if request.headers.get("x-amz-account-id") != self.account:
            return error(404, "AccessGrantsInstanceNotExistsError", "There is no access grants instance.")
        matched = [target for target in self.targets if asked.startswith(target.removesuffix("*"))]
        if not matched:
            permission = request.query.get("permission", "")
            return error(403, "AccessDenied", f"You do not have {permission} permissions to the requested S3 Prefix")
        token = self.tokens.issue(self.life)
        facts = tag("AccessKeyId", token.access_key) + tag("SecretAccessKey", token.secret_key)
        told = token if self.said is None else replace(token, ends_at=time.time() + self.said)
        facts += tag("SessionToken", token.session_token) + tag("Expiration", told.expiration)
        widest = min(matched, key=len)
        return xml("GetDataAccessResult", f"<Credentials>{facts}</Credentials>", tag("MatchedGrantTarget", widest))
