"""A server that compares no checksum: the MD5 in its ETags proves each body, whoever sends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulkhaul.s3.token import Token
from bulkhaul.transfer.dataset import Senders, TransferOptions
from bulkhaul.transfer.manifest import Verified
from bulkhaul.transfer.manifest_file import read_manifest
from servers.stub import odd, operations
from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3
from transfer.real import real_connection
from transfer.rig import Rig, write_tree

pytestmark = pytest.mark.slow
MANY = {f"{number:04d}": b"%d " % number * 3 for number in range(700)}


@pytest.fixture(params=["obstore", "s3transfer", "sender processes"])
def rig(request: pytest.FixtureRequest, tmp_path: Path, stub: StubS3) -> Iterator[Rig]:
    engine, count = ("obstore", 1) if request.param == "sender processes" else (request.param, 0)
    odd.ignores_checksums(stub)
    issued = stub.tokens.issue(None)
    connection = real_connection(stub.url, "bucket", engine, Token(issued.access_key, issued.secret_key))
    with Senders(count) as senders:
        senders.start()
        rig = Rig(tmp_path, connection, TransferOptions(checksums=False, listing_lag=0), senders=senders)
        write_tree(rig.source, MANY if count else dict(list(MANY.items())[:20]))
        yield rig


def flip_the(names: set[str], stub: StubS3, *, times: int) -> None:
    """A bit of each of these bodies is flipped on its way, the first `times` times."""
    met: dict[str, int] = {}

    def act(request: Request, serve: Any) -> Answer:
        name = request.key.rpartition("/")[2]
        met[name] = met.get(name, 0) + 1
        if name not in names or met[name] > times:
            return serve()
        return operations.serve(stub.store, replace(request, body=odd.flip(request.body)))

    stub.script.plan("PutObject", act, times=1_000_000)


def test_a_body_that_arrived_damaged_is_sent_again(rig: Rig, stub: StubS3) -> None:
    flip_the({"0003", "0011"}, stub, times=1)
    report = rig.transfer()
    assert report.ok
    for path in rig.source.iterdir():
        assert stub.store.buckets["bucket"][f"p/plate/{path.name}"].body == path.read_bytes()
    assert {record.verified for record in read_manifest(rig.manifest)} == {Verified.MD5}


def test_one_that_arrives_damaged_each_time_fails(rig: Rig, stub: StubS3) -> None:
    flip_the({"0007"}, stub, times=99)
    report = rig.transfer()
    assert [name for name, _ in report.failures] == ["0007"]
    assert "is not the MD5 of what was sent" in report.failures[0][1]
