"""The clients that the harness compares, each as a program of its own on a small folder and on a file of 1 GiB."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from lab import TOOLS, Program, run

GIB = 1 << 30
FILES = {
    **{f"plate/{row}/{column}/0.0": 100 * row + column for row in range(20) for column in range(15)},
    "plate/.zattrs": 2,
    "plate/empty": 0,
    "plate/a b+c&d<é>'q\".txt": 4,
    "plate/large": 40 << 20,
}


@contextmanager
def folder(files: dict[str, int]) -> Iterator[Path]:
    """A folder `results` with files of these sizes; the large ones are holes."""
    with TemporaryDirectory() as name:
        root = Path(name, "results")
        for path, size in files.items():
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"x" * min(size, 4096))
            with place.open("r+b") as file:
                file.truncate(size)
        yield root


def stored(client: Any, prefix: str) -> dict[str, int]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    return {one["Key"].removeprefix(prefix): one["Size"] for page in pages for one in page.get("Contents", ())}


def sent(sink: Program) -> tuple[int, int]:
    stats = sink.stats()
    return stats["put"] + stats["upload_part"], stats["bytes"]


def s5cmd(sink: Program, verb: str, source: Path, target: str) -> str:
    # The slash at the end: what lies in the folder, not the folder.
    return run(TOOLS / "s5cmd", "--endpoint-url", sink.url, verb, f"{source}/", f"s3://bucket/{target}/")


def rclone(sink: Program, source: Path, target: str) -> str:
    remote = f":s3,provider=Other,endpoint='{sink.url}',env_auth=true,no_check_bucket=true:bucket/{target}"
    return run(TOOLS / "rclone", "copy", source, remote, "--config", "/dev/null")


def aws(sink: Program, verb: tuple[str, ...], source: Path, target: str) -> str:
    words = ("s3", *verb, source, f"s3://bucket/{target}/", "--only-show-errors")
    return run(TOOLS / "aws", "--endpoint-url", sink.url, *words)


def bulkhaul(sink: Program, source: Path) -> str:
    place = source.parent / "work"
    place.mkdir(exist_ok=True)
    (place / "bulkhaul.toml").write_text(
        f'results = "{source}"\ntarget = "s3://bucket/bulkhaul"\nlayout = "folders"\nendpoint_url = "{sink.url}"\n'
    )
    program = (sys.executable, "-m", "bulkhaul")
    run(*program, "extract", "-o", place / "joblist", cwd=place)
    return "".join(run(*program, verb, "-i", place / "joblist", cwd=place) for verb in ("check", "transfer", "verify"))


def check_s5cmd() -> None:
    with Program("sink") as sink, folder(FILES) as source:
        client = sink.client()
        s5cmd(sink, "cp", source, "cp")
        assert stored(client, "cp/") == FILES
        s5cmd(sink, "sync", source, "sync")
        assert stored(client, "sync/") == FILES
        before = sent(sink)
        assert s5cmd(sink, "sync", source, "sync") == ""
        assert sent(sink) == before


def check_rclone() -> None:
    with Program("sink") as sink, folder(FILES) as source:
        client = sink.client()
        rclone(sink, source, "copy")
        assert stored(client, "copy/") == FILES
        before = sent(sink)
        rclone(sink, source, "copy")
        assert sent(sink) == before


def check_aws() -> None:
    with Program("sink") as sink, folder(FILES) as source:
        client = sink.client()
        aws(sink, ("cp", "--recursive"), source, "cp")
        assert stored(client, "cp/") == FILES
        aws(sink, ("sync",), source, "sync")
        assert stored(client, "sync/") == FILES
        before = sent(sink)
        aws(sink, ("sync",), source, "sync")
        assert sent(sink) == before


def check_bulkhaul() -> str:
    """A whole transfer, which ends in a second listing; run again, it sends nothing."""
    with Program("sink") as sink, folder(FILES) as source:
        client = sink.client()
        said = bulkhaul(sink, source)
        assert "1 job(s) succeeded, 0 failed" in said, said
        assert "agrees with S3" in said, said
        found = stored(client, "bulkhaul/")
        assert {key: size for key, size in found.items() if key in FILES} == FILES
        extra = sorted(set(found) - set(FILES))
        before = sink.stats()["bytes"]
        work = source.parent / "work"
        run(sys.executable, "-m", "bulkhaul", "transfer", "-i", work / "joblist", cwd=work)
        assert sink.stats()["bytes"] - before < 1000
    return f"beside the files: {', '.join(extra)}"


def check_all_through_the_proxy() -> None:
    """The same with a round trip of 40 ms."""
    with Program("sink") as sink, Program("delay", f"127.0.0.1:{sink.port}", "40") as proxy, folder(FILES) as source:
        client = sink.client()
        s5cmd(proxy, "cp", source, "s5cmd")
        rclone(proxy, source, "rclone")
        aws(proxy, ("cp", "--recursive"), source, "aws")
        bulkhaul(proxy, source)
        for target in ("s5cmd/", "rclone/", "aws/"):
            assert stored(client, target) == FILES, target
        assert FILES.items() <= stored(client, "bulkhaul/").items()


def _check_gib(sink: Program, key: str) -> str:
    stats = sink.stats()
    head = sink.client().head_object(Bucket="bucket", Key=key)
    assert head["ContentLength"] == GIB
    assert GIB <= stats["bytes"] < GIB + 1_000_000, stats
    assert stats["complete"] == 1, stats
    return f"{stats['upload_part']} parts, ETag {head['ETag']}"


@contextmanager
def large_file() -> Iterator[tuple[Program, Path]]:
    with Program("sink") as sink, folder({"plate/large": GIB}) as source:
        sink.client()
        yield sink, source


def check_gib_by_boto3() -> str:
    with large_file() as (sink, source):
        client = boto3.client("s3", endpoint_url=sink.url)
        client.upload_file(str(source / "plate" / "large"), "bucket", "boto3/large")
        return _check_gib(sink, "boto3/large")


def check_gib_by_s5cmd() -> str:
    with large_file() as (sink, source):
        s5cmd(sink, "cp", source, "s5cmd")
        return _check_gib(sink, "s5cmd/plate/large")


def check_gib_by_rclone() -> str:
    with large_file() as (sink, source):
        rclone(sink, source, "rclone")
        return _check_gib(sink, "rclone/plate/large")


def check_gib_by_aws() -> str:
    with large_file() as (sink, source):
        aws(sink, ("cp", "--recursive"), source, "aws")
        return _check_gib(sink, "aws/plate/large")


def check_gib_by_bulkhaul() -> str:
    with large_file() as (sink, source):
        bulkhaul(sink, source)
        head = sink.client().head_object(Bucket="bucket", Key="bulkhaul/plate/large", ChecksumMode="ENABLED")
        assert head["ContentLength"] == GIB
        assert sink.stats()["complete"] == 1
        return f"{sink.stats()['upload_part']} parts and a probe's, CRC64NVME {head['ChecksumCRC64NVME']}"


def check_one_put_of_5_gib() -> str:
    """The largest that S3 takes in one request; the body is a hole that the kernel sends."""
    size = 5 * GIB
    with Program("sink") as sink, folder({"hole": size}) as source, (source / "hole").open("rb") as hole:
        client = sink.client()
        with socket.create_connection(("127.0.0.1", sink.port)) as stream:
            stream.sendall(f"PUT /bucket/hole HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode())
            at = 0
            while at < size:
                at += os.sendfile(stream.fileno(), hole.fileno(), at, size - at)
            assert stream.recv(4096).startswith(b"HTTP/1.1 200 OK")
        assert client.head_object(Bucket="bucket", Key="hole")["ContentLength"] == size
        with Path(f"/proc/{sink.process.pid}/status").open() as status:
            return next(line for line in status if line.startswith("VmHWM")).strip().replace("\t", " ")
