"""How and where S3 is reached, as values that another process can be given; no library of S3's is loaded here."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class S3Options:
    """How S3 is reached; what is None comes from AWS's own variables and profiles. Timeouts in seconds."""

    engine: Literal["auto", "obstore", "s3transfer"] = "auto"
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    ca_bundle: str | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    max_connections: int = 64


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where S3 is, as botocore resolved it; `url` is None for AWS's own endpoint of the region."""

    url: str | None
    region: str
    ca_bundle: str | None
    path_style: bool

    @property
    def allow_http(self) -> bool:
        """Whether the endpoint is plain http."""
        return self.url is not None and self.url.startswith("http://")

    @property
    def sign_payload(self) -> bool:
        """Whether bodies are signed: only over plain http to another host; TLS or the loopback protects them else."""
        return self.url is not None and needs_signed_payload(self.url)

    def __str__(self) -> str:
        return self.url or f"AWS {self.region}"


def fast_engine_installed() -> bool:
    """Whether the fast engine can be expected to load here; it is not loaded."""
    from importlib.util import find_spec  # a sender, which reads these values too, has no use for it

    return find_spec("obstore") is not None


def needs_signed_payload(url: str) -> bool:
    """Whether bodies sent to `url` could be changed on the way unseen: over plain http to another host."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    host = parts.hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
