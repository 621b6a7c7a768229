"""What the harness compares, each as its users call it: all of a folder arrives, and a second run sends nothing."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from benchmarks.running import KEYS, PEERS, Program, run
from servers.required import missing

MIB = 1 << 20
LARGE = 200 * MIB
FILES = {
    **{f"plate/{row}/{column}/0.0": 100 * row + column for row in range(20) for column in range(15)},
    "plate/.zattrs": 2,
    "plate/empty": 0,
    "plate/a b+c&d<é>'q\".txt": 4,
    "plate/large": 40 * MIB,
}
# Over a round trip, for programs that send four files at a time.
FEW = {
    path: size
    for path, size in FILES.items()
    if not path.startswith(("plate/1", "plate/5", "plate/6", "plate/7", "plate/8", "plate/9"))
}
BULKHAUL = (sys.executable, "-m", "bulkhaul")


def folder(place: Path, files: dict[str, int]) -> Path:
    """A folder `results` with files of these sizes; the large ones are holes."""
    root = place / "results"
    for path, size in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * min(size, 4096))
        os.truncate(file, size)
    return root


def stored(client: Any, prefix: str) -> dict[str, int]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    return {one["Key"].removeprefix(prefix): one["Size"] for page in pages for one in page.get("Contents", ())}


def peer(name: str) -> Path:
    if not (PEERS / name).exists():
        missing("peers", "make bench installs them")
    return PEERS / name


def s5cmd(server: Program, source: Path, verb: str) -> str:
    # The slash at the end: what lies in the folder, not the folder.
    return run(peer("s5cmd"), "--endpoint-url", server.url, verb, f"{source}/", "s3://bucket/copy/")


def rclone(server: Program, source: Path, verb: str) -> str:
    remote = f":s3,provider=Other,endpoint='{server.url}',env_auth=true,no_check_bucket=true:bucket/copy"
    return run(peer("rclone"), "copy", source, remote, "--config", "/dev/null")


def aws(server: Program, source: Path, verb: str) -> str:
    words = ("s3", *(("sync",) if verb == "sync" else ("cp", "--recursive")), source, "s3://bucket/copy/")
    return run(peer("aws"), "--endpoint-url", server.url, *words, "--only-show-errors")


def naive(server: Program, source: Path, verb: str) -> None:
    """boto3's way with one file."""
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=KEYS["AWS_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.upload_file(str(source / "plate" / "large"), "bucket", "copy/plate/large")


def bulkhaul(server: Program, source: Path, *verbs: str) -> str:
    place = source.parent / "work"
    place.mkdir(exist_ok=True)
    (place / "bulkhaul.toml").write_text(
        f'results = "{source}"\ntarget = "s3://bucket/copy"\nlayout = "folders"\nendpoint_url = "{server.url}"\n'
    )
    run(*BULKHAUL, "extract", "-o", place / "joblist", cwd=place)
    return "".join(run(*BULKHAUL, verb, "-i", place / "joblist", cwd=place) for verb in verbs)


Client = Callable[[Program, Path, str], object]


@pytest.mark.slow
@pytest.mark.parametrize("client", [s5cmd, rclone, aws])
def test_a_peer_sends_all_and_then_nothing(sink: Program, tmp_path: Path, client: Client) -> None:
    source = folder(tmp_path, FILES)
    own = sink.client()
    for verb in ("cp", "sync"):
        client(sink, source, verb)
        assert stored(own, "copy/") == FILES
    before = sent(sink)
    client(sink, source, "sync")
    assert sent(sink) == before


def sent(sink: Program) -> tuple[int, int]:
    stats = sink.stats()
    return stats["put"] + stats["upload_part"], stats["bytes"]


@pytest.mark.slow
def test_bulkhaul_sends_all_and_then_nothing(sink: Program, tmp_path: Path) -> None:
    """A whole transfer, which ends in a second listing."""
    source = folder(tmp_path, FILES)
    own = sink.client()
    said = bulkhaul(sink, source, "check", "transfer", "verify")
    assert "1 job(s) succeeded, 0 failed" in said, said
    assert "agrees with S3" in said, said
    assert {key: size for key, size in stored(own, "copy/").items() if key in FILES} == FILES
    before = sink.stats()["bytes"]
    work = tmp_path / "work"
    run(*BULKHAUL, "transfer", "-i", work / "joblist", cwd=work)
    assert sink.stats()["bytes"] - before < 1000


@pytest.mark.slow
@pytest.mark.parametrize("client", [s5cmd, rclone, aws])
def test_a_peer_sends_all_through_the_proxy(sink: Program, far: Program, tmp_path: Path, client: Client) -> None:
    own = sink.client()
    client(far, folder(tmp_path, FEW), "cp")
    assert stored(own, "copy/") == FEW


@pytest.mark.slow
def test_bulkhaul_sends_all_through_the_proxy(sink: Program, far: Program, tmp_path: Path) -> None:
    own = sink.client()
    bulkhaul(far, folder(tmp_path, FEW), "transfer")
    assert FEW.items() <= stored(own, "copy/").items()


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    yield folder(tmp_path, {"plate/large": LARGE})


@pytest.mark.parametrize("client", [s5cmd, rclone, aws, naive])
def test_a_peers_large_file_is_put_together_of_its_parts(sink: Program, large: Path, client: Client) -> None:
    own = sink.client()
    client(sink, large, "cp")
    stats = sink.stats()
    assert own.head_object(Bucket="bucket", Key="copy/plate/large")["ContentLength"] == LARGE
    assert LARGE <= stats["bytes"] < LARGE + 1_000_000, stats
    assert stats["complete"] == 1 < stats["upload_part"], stats


@pytest.mark.slow
def test_bulkhauls_large_file_has_a_checksum_of_its_whole(sink: Program, large: Path) -> None:
    own = sink.client()
    bulkhaul(sink, large, "transfer")
    head = own.head_object(Bucket="bucket", Key="copy/plate/large", ChecksumMode="ENABLED")
    assert head["ContentLength"] == LARGE
    assert head["ChecksumCRC64NVME"]
    assert sink.stats()["complete"] == 2  # one of them the probe's


@pytest.mark.slow
def test_one_put_of_the_most_that_s3_takes_costs_no_memory(sink: Program, tmp_path: Path) -> None:
    """The body is a hole that the kernel sends."""
    size = 5 << 30
    own = sink.client()
    source = folder(tmp_path, {"hole": size}) / "hole"
    with source.open("rb") as hole, socket.create_connection(("127.0.0.1", sink.port)) as stream:
        stream.sendall(f"PUT /bucket/hole HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode())
        at = 0
        while at < size:
            at += os.sendfile(stream.fileno(), hole.fileno(), at, size - at)
        assert stream.recv(4096).startswith(b"HTTP/1.1 200 OK")
    assert own.head_object(Bucket="bucket", Key="hole")["ContentLength"] == size
    assert sink.memory("VmHWM") < 16 * 1024
