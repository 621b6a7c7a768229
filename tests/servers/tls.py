"""A certificate for the loopback, of an authority that nobody knows."""

from __future__ import annotations

from pathlib import Path

import trustme


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 and localhost, with its authority's, and its key into `folder`; return both."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    certificate.write_bytes(b"".join(pem.bytes() for pem in (*issued.cert_chain_pems, authority.cert_pem)))
    key.write_bytes(issued.private_key_pem.bytes())
    return certificate, key
