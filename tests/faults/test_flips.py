"""A bit that flips in transit is caught, each way bodies are sent; and a judge that sees one that is not."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bulkhaul.s3.token import Token
from faults.figures.flips import BUCKET, WAYS, Way, flip_all
from faults.flipping import flipped
from servers.seaweed import ADMIN, Seaweed
from servers.stub.message import Answer, Request
from servers.stub_s3 import Front, StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slow]


@pytest.fixture
def server(s3_server: Seaweed) -> Iterator[Seaweed]:
    s3_server.client().create_bucket(Bucket=BUCKET)
    yield s3_server
    s3_server.client().delete_bucket(Bucket=BUCKET)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_each_flip_is_refused_and_the_source_stands_there(tmp_path: Path, server: Seaweed, way: Way) -> None:
    amount = 600 if way.senders else 60  # for fewer files no sender processes begin
    judged = flip_all(tmp_path / uuid.uuid4().hex, server.url, way, amount=amount, seed=4)
    assert (judged.flips, judged.refused, judged.taken, judged.wrong) == (amount, amount, 0, [])


@pytest.mark.parametrize("way", [WAYS[0], WAYS[-1]], ids=lambda way: way.name)
def test_the_judge_sees_the_flips_of_bodies_that_have_lost_their_checksums(
    tmp_path: Path, server: Seaweed, way: Way
) -> None:
    behind = Front(server.url, ADMIN.access_key, ADMIN.secret_key)

    def strip(request: Request, _serve: Callable[[], Answer]) -> Answer:
        kept = {name: value for name, value in request.headers.items() if not name.startswith("x-amz-checksum-")}
        return behind.serve(replace(request, headers=kept))

    with StubS3(front=behind) as front:
        issued = front.tokens.issue(None)
        keys = Token(issued.access_key, issued.secret_key)
        front.script.plan("*", strip, times=1_000_000)
        judged = flip_all(tmp_path / uuid.uuid4().hex, front.url, way, amount=20, seed=4, keys=keys)
    assert (judged.flips, judged.refused, judged.taken) == (20, 0, 20)
    assert len(judged.wrong) == 20


def test_one_bit_and_no_other_is_flipped() -> None:
    body = bytes(16)
    assert {int.from_bytes(flipped(body, bit), "little").bit_count() for bit in range(128)} == {1}
    assert len({flipped(body, bit) for bit in range(128)}) == 128
