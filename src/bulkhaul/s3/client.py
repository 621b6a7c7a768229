"""boto3 clients with our own rules, the endpoint that both engines share, and botocore's errors as ours.

AWS's own variables and profiles mean what they mean elsewhere: botocore resolves endpoint, region, CA bundle and proxy;
the result is read back into one `Endpoint` value, so that obstore talks to the same place in the same way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions as boto
import botocore.session
import urllib3.exceptions
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials
from botocore.handlers import add_expect_header
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError

from bulkhaul.errors import (
    BucketUnusable,
    CredentialsError,
    ObjectRefused,
    S3Error,
    Transient,
    Unreachable,
    UsageError,
)
from bulkhaul.s3.credentials import CredentialSource
from bulkhaul.s3.endpoint import Endpoint, S3Options, needs_signed_payload
from bulkhaul.s3.exchange import guard_requests
from bulkhaul.s3.faults import ENDPOINT_STEP, HEAD_REFUSED, translate


def make_client(service: str, options: S3Options, *, source: CredentialSource | None) -> Any:
    """A boto3-style client of `service` that makes each request once; with `source` None it signs by the default chain.

    Raises:
        UsageError: no such profile or CA bundle, no region for a service that needs one, an endpoint that is no URL.
    """
    session = open_session(options)
    if source is not None:
        resolver = CredentialResolver([_SourceProvider(source)])
        session.register_component("credential_provider", resolver)
    with s3_errors(options.endpoint_url or service):
        client = _create(session, service, options, sign_payload=False)
        if service == "s3" and needs_signed_payload(client.meta.endpoint_url):
            client = _create(session, service, options, sign_payload=True)
    # Python's http client waits a round trip for `100 Continue` before each body that is a file.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client


def open_session(options: S3Options) -> botocore.session.Session:
    """A botocore session of the profile and region that the options name, or AWS's own variables.

    Raises:
        UsageError: no such profile.
    """
    return _opened(_Session(profile=options.profile), options)


def read_configuration(options: S3Options) -> botocore.session.Session:
    """As `open_session`, to be asked for variables alone; 300 handlers for requests fewer, a hundredth of a second.

    Raises:
        UsageError: no such profile.
    """
    return _opened(botocore.session.Session(profile=options.profile, include_builtin_handlers=False), options)


def _opened(session: botocore.session.Session, options: S3Options) -> botocore.session.Session:
    with s3_errors("AWS profile"):
        session.get_scoped_config()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    # The other SDKs read AWS_REGION, botocore knows only AWS_DEFAULT_REGION.
    region = options.region or os.environ.get("AWS_REGION")
    if region:
        session.set_config_variable("region", region)
    return session


@cache
def _loader(data_path: str | None) -> Loader:
    # botocore's descriptions of S3 and its endpoints: 50 ms to read, for each session anew unless they share them.
    paths = create_loader(data_path).search_paths
    return _Loader(extra_search_paths=paths, include_default_search_paths=False)


class _Session(botocore.session.Session):  # type: ignore[misc, unused-ignore]
    """botocore's own, whose clients do not hang; AWS's chain of credentials makes some of its own."""

    def create_client(self, *arguments: Any, **named: Any) -> Any:
        """As botocore's."""
        client = super().create_client(*arguments, **named)
        guard_requests(client)
        return client


class _Loader(Loader):  # type: ignore[misc, unused-ignore]
    """botocore's own, without its look into each service's folder: 4,500 calls to what is often a shared file system.

    They only serve to know that a service exists before its description is read.
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore gives it by name
        """The services that are called here: our own, and those that AWS's chain of credentials calls."""
        return ["s3", "s3control", "signin", "sso", "sso-oidc", "sts"]


def endpoint_of(client: Any, options: S3Options) -> Endpoint:
    """The place that an S3 `client` of `make_client` talks to, as a value for the other engine."""
    url: str = client.meta.endpoint_url
    custom = _AWS_HOST.fullmatch(urlsplit(url).hostname or "") is None
    style = client.meta.config.s3.get("addressing_style", "auto")
    region: str = client.meta.region_name
    return Endpoint(
        url=url.rstrip("/") if custom else None,
        region="us-east-1" if region == "aws-global" else region,
        ca_bundle=_ca_bundle(read_configuration(options), options),
        path_style=style == "path" or (style == "auto" and custom),
    )


# Dual-stack, FIPS and VPC endpoints are not here: they are used as they are, like any other server.
_AWS_HOST = re.compile(r"s3[.-]([a-z0-9-]+\.)?amazonaws\.com(\.cn)?")


def _create(session: botocore.session.Session, service: str, options: S3Options, *, sign_payload: bool) -> Any:
    profile: Any = session.get_scoped_config().get("s3")
    style: Any = profile.get("addressing_style", "auto") if isinstance(profile, dict) else "auto"
    if options.addressing_style != "auto":
        style = options.addressing_style
    config = Config(
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        max_pool_connections=options.max_connections,
        retries={"mode": "standard", "total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": style, "payload_signing_enabled": sign_payload},
        user_agent_extra="bulkhaul",
    )
    return session.create_client(
        service,
        endpoint_url=options.endpoint_url if service == "s3" else None,
        verify=_ca_bundle(session, options),
        config=config,
    )


def _ca_bundle(session: botocore.session.Session, options: S3Options) -> str | None:
    set_by_aws = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    value = options.ca_bundle or (str(set_by_aws) if set_by_aws else None)
    # The libraries would say it at the first request only, and not as an error of theirs.
    if value is not None and not Path(value).exists():
        raise UsageError(value, "the CA bundle does not exist", "check `ca_bundle` and AWS_CA_BUNDLE")
    return value


class LiveCredentials(Credentials):
    """Credentials of botocore's that are read from the source at each signature, without botocore's windows."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source
        self.method = "bulkhaul"
        self.account_id = None

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The keys of this moment; CredentialsError as it is when there are none."""
        token = self._source.token()
        return ReadOnlyCredentials(token.access_key, token.secret_key, token.session_token)


class _SourceProvider(CredentialProvider):  # type: ignore[misc, unused-ignore]
    """The one entry of a client's chain of credentials: the source."""

    METHOD = "bulkhaul"

    def __init__(self, source: CredentialSource) -> None:
        super().__init__()
        self._source = source

    def load(self) -> Credentials:
        return LiveCredentials(self._source)


@contextmanager
def s3_errors(thing: object) -> Iterator[None]:
    """Turn each error of botocore or urllib3 inside into one of ours about `thing`."""
    try:
        yield
    except (boto.ClientError, boto.BotoCoreError, urllib3.exceptions.HTTPError) as error:
        raise _translated(error, str(thing)) from error
    except ResponseParserError as error:
        raise Transient(thing, "the answer cannot be read", ENDPOINT_STEP) from error
    except ValueError as error:
        # botocore reports an endpoint that is no URL as a bare ValueError.
        if "endpoint" not in str(error):
            raise
        raise UsageError(thing, str(error), "write the endpoint as https://host[:port]") from error


_LOGIN_STEP = "log in again, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_TLS_STEP = "check the endpoint's certificate, or name its authority (`ca_bundle`, AWS_CA_BUNDLE)"

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.UnauthorizedSSOTokenError,
)
_UNREACHED = (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError)
_CUT_SHORT = (
    boto.ReadTimeoutError,
    boto.ConnectionClosedError,
    boto.HTTPClientError,
    boto.ResponseStreamingError,
    boto.IncompleteReadError,
    urllib3.exceptions.HTTPError,
)


def _translated(error: Exception, thing: str) -> Exception:
    if isinstance(error, boto.ClientError):
        return _answered(error, thing)
    if isinstance(error, boto.SSLError) and "EOF occurred" not in str(error):
        return BucketUnusable(thing, f"no secure connection: {_cause(error)}", _TLS_STEP)
    if isinstance(error, _NO_CREDENTIALS):
        return CredentialsError(thing, f"no usable credentials: {error}", _LOGIN_STEP)
    if isinstance(error, _UNREACHED):
        return Unreachable(thing, f"no connection: {_cause(error)}", ENDPOINT_STEP)
    if isinstance(error, _CUT_SHORT):
        return Transient(thing, f"the connection failed: {_cause(error)}", ENDPOINT_STEP)
    if isinstance(error, boto.ProfileNotFound):
        return UsageError(thing, str(error), "check AWS_PROFILE against the profiles in ~/.aws/config")
    if isinstance(error, boto.NoRegionError):
        return UsageError(thing, "no region is set", "set `region` or AWS_REGION")
    if isinstance(error, boto.ParamValidationError):
        return ObjectRefused(thing, " ".join(str(error).split()), "see the reason; a repetition cannot help")
    return S3Error(thing, f"{type(error).__name__}: {error}", "see the reason; report it if it is not yours to solve")


# HEAD has no body to give a reason in: its 503 is taken for the usual one, which asks for fewer requests.
_HEADS = {"400": HEAD_REFUSED, "503": "SlowDown"}


def _answered(error: boto.ClientError, thing: str) -> S3Error:
    said: Any = error.response.get("Error", {})
    meta: Any = error.response.get("ResponseMetadata", {})
    message = str(said.get("Message", ""))
    region = said.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if region:
        message = f"{message} its region is {region}".strip()
    code = str(said.get("Code", ""))
    if error.operation_name == "HeadBucket" and code == "404":
        code = "NoSuchBucket"
    if error.operation_name.startswith("Head"):
        code = _HEADS.get(code, code)
    return translate(code, int(meta.get("HTTPStatusCode", 0)), message, thing=thing)


def _cause(error: Exception) -> str:
    """The innermost reason in one line; urllib3 and botocore wrap it several times."""
    inner: Any = error
    while (below := getattr(inner, "kwargs", {}).get("error") or getattr(inner, "reason", None)) is not None:
        if not isinstance(below, Exception):
            break
        inner = below
    text = " ".join(str(inner).split())
    return _CONNECTION.sub(r"\1:\2: ", text) or type(inner).__name__


_CONNECTION = re.compile(r"^\w+\(host='([^']*)', port=(\d+)\): ")
