"""The stub as a front of another S3 server: requests are signed anew with that server's keys and passed on."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from servers.stub.message import Answer, Request

_DROPPED = {
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "transfer-encoding",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
}
_UNSIGNED = Config(s3={"payload_signing_enabled": False})


@dataclass(frozen=True, slots=True)
class Front:
    """The server behind: its URL and keys with all rights."""

    url: str
    access_key: str
    secret_key: str

    def serve(self, request: Request) -> Answer:
        """Pass `request` on and give the answer as it came."""
        target = request.path + (f"?{request.query_text}" if request.query_text else "")
        kept = {name: value for name, value in request.headers.items() if name not in _DROPPED}
        signed = AWSRequest(method=request.method, url=self.url + target, headers=kept, data=request.body)
        signed.context["client_config"] = _UNSIGNED
        S3SigV4Auth(Credentials(self.access_key, self.secret_key), "s3", "us-east-1").add_auth(signed)
        # Not a client library: it would write the path in another way than it was signed.
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(request.method, target, body=request.body, headers=dict(signed.headers.items()))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _DROPPED}
        if request.method == "HEAD":
            headers["Content-Length"] = answer.getheader("Content-Length") or "0"
        return Answer(answer.status, body, headers)
