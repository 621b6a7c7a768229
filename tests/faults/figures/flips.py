"""Bit flips in transit: each body arrives with one bit changed, and what is stored in the end is the source."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bulkhaul.s3.token import Token
from bulkhaul.transfer.dataset import Senders, TransferOptions
from faults.figure import Figure
from faults.flipping import Flip, FlippingProxy
from servers.seaweed import ADMIN, Seaweed, plain_client
from transfer.real import real_connection
from transfer.rig import Rig

CLAIM = "bit flips in transit"
USUAL = 10_000
BUCKET = "flips"
KEYS = Token(ADMIN.access_key, ADMIN.secret_key)
_LARGEST = 32 * 1024  # bytes of a body


@dataclass(frozen=True, slots=True)
class Way:
    """How bodies are sent: the engine, in so many processes beside, as parts of uploads or whole; its share of all."""

    name: str
    engine: str
    share: float
    senders: int = 0
    in_parts: bool = False


WAYS = (
    Way("puts of obstore", "obstore", 0.3),
    Way("puts of obstore in sender processes", "obstore", 0.3, senders=2),
    Way("puts of boto3", "s3transfer", 0.3),
    Way("parts", "s3transfer", 0.1, in_parts=True),
)


@dataclass(slots=True)
class Judged:
    """What became of the flips: how the server answered, and which objects are not their source afterwards."""

    flips: int = 0
    refused: int = 0
    taken: int = 0
    wrong: list[str] = field(default_factory=list)


def measure(folder: Path, *, amount: int, seed: int) -> Figure:
    """Flip a bit of `amount` bodies, sent in each way, on their way to a real server."""
    counts: dict[str, int | float | str] = {}
    total = Judged()
    with Seaweed(folder / "server") as server:
        server.client().create_bucket(Bucket=BUCKET)
        for way in WAYS:
            judged = flip_all(folder / uuid.uuid4().hex, server.url, way, amount=round(amount * way.share), seed=seed)
            counts[way.name] = judged.flips
            total.flips += judged.flips
            total.refused += judged.refused
            total.taken += judged.taken
            total.wrong += judged.wrong
    facts = {**counts, "refused by the server": total.refused, "taken by the server": total.taken}
    return Figure(CLAIM, total.flips, len(total.wrong), seed, facts)


def flip_all(folder: Path, url: str, way: Way, *, amount: int, seed: int, keys: Token = KEYS) -> Judged:
    """Send `amount` files in one way through the proxy, and judge what the server has then."""
    prefix = folder.name
    rng = random.Random(f"{seed} {way.name}")
    with FlippingProxy(url, seed=seed) as proxy, _rig(folder, proxy.url, way, prefix, keys) as rig:
        for number in range(amount):
            path = rig.source / f"{number // 1000:03d}" / f"{number % 1000:03d}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(rng.randbytes(rng.randint(1, _LARGEST)))
        rig.transfer()
        client = plain_client(url, keys.access_key, keys.secret_key)
        return _judged(proxy.flips, rig.source, client, prefix)


@contextmanager
def _rig(folder: Path, url: str, way: Way, prefix: str, keys: Token) -> Iterator[Rig]:
    connection = real_connection(url, BUCKET, way.engine, keys, prefix)
    options = TransferOptions(
        multipart_threshold=1 if way.in_parts else 2 * _LARGEST,
        listing_in_order=False,
        listing_lag=0,
        manifest_upload=False,
        max_concurrency=32,
    )
    with Senders(way.senders) as senders:
        senders.start()
        yield Rig(folder, connection, options, senders=senders)


def _judged(flips: list[Flip], source: Path, client: Any, prefix: str) -> Judged:
    judged = Judged()
    for flip in flips:
        name = unquote(flip.target.partition("?")[0]).removeprefix(f"/{BUCKET}/{prefix}/")
        judged.flips += 1
        judged.refused += flip.status == 400
        judged.taken += flip.status == 200
        if _stored(client, f"{prefix}/{name}") != hashlib.sha256((source / name).read_bytes()).digest():
            judged.wrong.append(f"{name}, bit {flip.bit}")
    return judged


def _stored(client: Any, key: str) -> bytes | None:
    try:
        body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
    return hashlib.sha256(body).digest()
