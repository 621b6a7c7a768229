"""Search for secrets in all that a run leaves: files, S3, outputs, and the command lines of all processes meanwhile."""

from __future__ import annotations

import base64
import gzip
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus


def forms_of(secret: str) -> dict[str, bytes]:
    """How a secret may be written: as it is, for URLs, in JSON, in hexadecimal, in base64 at any offset."""
    raw = secret.encode()
    forms = {
        "raw": raw,
        "url": quote(secret, safe="").encode(),
        "form": quote_plus(secret).encode(),
        "json": secret.replace("/", "\\/").encode(),
        "hex": raw.hex().encode(),
    }
    for offset in range(3):
        # Only whole groups of three bytes look the same whatever stands around them.
        whole = raw[(3 - offset) % 3 :]
        whole = whole[: len(whole) // 3 * 3]
        forms[f"base64 at {offset}"] = base64.b64encode(whole)
        forms[f"urlsafe base64 at {offset}"] = base64.urlsafe_b64encode(whole)
    return forms


def leaked(data: bytes, secrets: Iterable[str]) -> list[str]:
    """The forms in which any of the secrets stands in `data`, unpacked where it is gzip."""
    with suppress(OSError, EOFError):
        data += gzip.decompress(data)
    return [form for secret in secrets for form, text in forms_of(secret).items() if text in data]


def leaks_in(folders: Sequence[Path], secrets: Sequence[str]) -> dict[str, list[str]]:
    """Each file below `folders`, or name of one, with a secret in it."""
    found = {}
    for path in (path for folder in folders for path in folder.rglob("*")):
        data = str(path).encode()
        if path.is_file() and not path.is_symlink():
            data += b"\n" + path.read_bytes()
            with suppress(OSError, EOFError):
                data += gzip.decompress(path.read_bytes())
        if forms := leaked(data, secrets):
            found[str(path)] = forms
    return found


def leaks_in_bucket(client: Any, bucket: str, secrets: Sequence[str]) -> dict[str, list[str]]:
    """Each object with a secret in its key, its headers or its content."""
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            answer = client.get_object(Bucket=bucket, Key=entry["Key"])
            body = answer.pop("Body").read()
            headers = "\n".join(f"{name}: {value}" for name, value in answer["ResponseMetadata"]["HTTPHeaders"].items())
            forms = leaked(body, secrets) + leaked(f"{entry['Key']}\n{headers}".encode(), secrets)
            if forms:
                found[entry["Key"]] = forms
    return found


@dataclass
class Watched:
    """The command lines that were seen; arguments end with a NUL as in /proc."""

    lines: set[bytes] = field(default_factory=set)


@contextmanager
def watched_processes() -> Iterator[Watched]:
    """Look at the command lines of all processes of this machine, twenty times a second, as `ps` would show them."""
    watched, ended = Watched(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    watched.lines.add(place.read_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield watched
    finally:
        ended.set()
        thread.join()
