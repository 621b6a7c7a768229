"""The servers that clients are measured against, each on a free port of the loopback, ended with the block."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))  # the S3 server's launcher is the tests' own
from servers.seaweed import ADMIN, Keys, Seaweed, plain_client  # noqa: E402

BUCKET = "bench"
ROUND_TRIP_MS = 40
EVERYWHERE = frozenset({"sink", "sink with MD5", "far sink", "seaweed"})
_SIZE = re.compile(rb"<Size>(\d+)</Size>")
_MORE = re.compile(rb"<NextContinuationToken>(.*?)</NextContinuationToken>")
_ANYBODY = Keys("anybody", "any", "any", ())


class Endpoint:
    """A running server: where it is, whose keys it takes, and how its bucket is emptied."""

    def __init__(self, url: str, keys: Keys) -> None:
        self.url = url
        self.keys = keys

    @property
    def environment(self) -> Mapping[str, str]:
        """AWS's own variables, by the names that each of the programs reads."""
        values = self.keys.environment(self.url)
        return {**values, "AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": values["AWS_REGION"]}

    def client(self) -> Any:
        """A plain client of this server."""
        return plain_client(self.url, self.keys.access_key, self.keys.secret_key)

    def clear(self) -> None:
        """Take all objects away."""
        client = self.client()
        if BUCKET in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.delete_bucket(Bucket=BUCKET)
        client.create_bucket(Bucket=BUCKET)

    def count(self) -> tuple[int, int]:
        """Objects in the bucket, and their bytes."""
        client = self.client()
        objects = nbytes = 0
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for found in page.get("Contents", ()):
                objects, nbytes = objects + 1, nbytes + found["Size"]
        return objects, nbytes

    def requests(self) -> dict[str, int]:
        """What the server has been asked, by kind, and the `bytes` that came whole; nothing where it does not count."""
        return {}


class Sink(Endpoint):
    """The null sink, directly or through a proxy at `url`."""

    def __init__(self, url: str, own_url: str) -> None:
        super().__init__(url, _ANYBODY)
        self._own_url = own_url

    def clear(self) -> None:
        """Drop all objects and zero the counters."""
        urllib.request.urlopen(f"{self._own_url}/_/reset").close()
        client = plain_client(self._own_url, "any", "any")
        if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)

    def count(self) -> tuple[int, int]:
        """Objects in the bucket, and their bytes; without a parser of XML, which at 10^6 objects would take minutes."""
        objects = nbytes = 0
        query: bytes | None = b""
        while query is not None:
            with urllib.request.urlopen(f"{self._own_url}/{BUCKET}?list-type=2{query.decode()}") as answer:
                page = answer.read()
            sizes = _SIZE.findall(page)
            objects, nbytes = objects + len(sizes), nbytes + sum(map(int, sizes))
            more = _MORE.search(page)
            query = more and b"&continuation-token=" + quote(more[1]).encode()
        return objects, nbytes

    def requests(self) -> dict[str, int]:
        """The counters since they were zeroed."""
        with urllib.request.urlopen(f"{self._own_url}/_/stats") as answer:
            return dict(json.load(answer))


@contextmanager
def endpoints(folder: Path, names: set[str]) -> Iterator[dict[str, Endpoint]]:
    """The named servers, running, and all sinks: `far sink` is behind a round trip, `sink with MD5` digests bodies."""
    subprocess.run(["make", "-s", "-C", HERE / "servers", "sink", "delay"], check=True)
    with (
        _program("sink") as port,
        _program("sink", "--md5") as digesting,
        _program("delay", f"127.0.0.1:{port}", str(ROUND_TRIP_MS)) as far,
    ):
        own, md5 = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{digesting}"
        found: dict[str, Endpoint] = {
            "sink": Sink(own, own),
            "sink with MD5": Sink(md5, md5),
            "far sink": Sink(f"http://127.0.0.1:{far}", own),
        }
        if "seaweed" not in names:
            yield found
            return
        with Seaweed(folder / "seaweed") as server:
            yield found | {"seaweed": Endpoint(server.url, ADMIN)}


@contextmanager
def _program(name: str, *arguments: str) -> Iterator[int]:
    with TemporaryDirectory() as folder:
        command = [str(HERE / "servers" / name), "0", *arguments, "--port-file", f"{folder}/port"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield int(Path(folder, "port").read_text().removeprefix("listening "))
        finally:
            process.terminate()
            process.wait(10)
