"""obstore's errors as ours: their class says little, S3's code and status are in the text (pure)."""

from __future__ import annotations

import re
from html import unescape

from bulkhaul.errors import BucketUnusable, CredentialsError, ObjectRefused, S3Error, Transient, Unreachable
from bulkhaul.s3.faults import ENDPOINT_STEP, translate

_STATUS = re.compile(r"status code: ([0-9]{3})")
_DETAILS = "\n\nDebug source:"

# rustls's words for a connection that will never be secure, against one that broke.
_TLS = re.compile(r"InvalidCertificate\(\s*(\w+)|(InvalidContentType)|AlertReceived\(\s*(\w+)|(PeerIncompatible)")


def obstore_error(error: Exception, *, thing: str) -> S3Error:
    """The error of ours for what obstore raised about `thing`.

    The text is obstore's sentence, then a dump of its Rust values, of which only known words are looked at.
    """
    said, _, details = str(error).partition(_DETAILS)
    status = _STATUS.search(said)
    if status is not None:
        message = _element(said, "Message")
        if region := _element(said, "Region"):
            message = f"{message} its region is {region}".strip()
        return translate(_element(said, "Code"), int(status[1]), message, thing=thing)
    if "redirect without LOCATION" in said:
        return translate("PermanentRedirect", 301, "", thing=thing)
    return _unanswered(said, details, thing)


def _unanswered(said: str, details: str, thing: str) -> S3Error:
    if tls := _TLS.search(details):
        word = next(group for group in tls.groups() if group)
        step = "name the certificate's authority (`ca_bundle`, AWS_CA_BUNDLE), or try `--engine s3transfer`"
        return BucketUnusable(thing, f"no secure connection: {word}", step)
    if "kind: Connect" in details:
        return Unreachable(thing, "no connection", ENDPOINT_STEP)
    if "kind: Timeout" in details:
        return Transient(thing, "no answer in time", ENDPOINT_STEP)
    if "HTTP error" in said:
        return Transient(thing, "the connection failed", ENDPOINT_STEP)
    if "ETag Header missing" in said:
        return BucketUnusable(thing, "the server's answer has no ETag", "use another endpoint")
    if "credential provider" in said:
        return CredentialsError(thing, f"no usable credentials: {said}", "log in again")
    if "parse path" in said or "invalid path" in said:
        return ObjectRefused(thing, "the fast engine refuses this name", "use `--engine s3transfer`")
    return S3Error(thing, said, "see the reason; `--engine s3transfer` is the other way")


def _element(text: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    return unescape(found[1]).strip() if found else ""
