"""One dataset to a real S3 server through a front that logs, refuses and ends tokens; each engine does all of it."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bulkhaul.errors import ClaimLost
from bulkhaul.s3.connection import connect
from bulkhaul.s3.credentials import CredentialPool, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from bulkhaul.transfer.dataset import Senders, SyncLevel, TransferOptions, audit_dataset
from bulkhaul.transfer.manifest_file import read_manifest
from servers.seaweed import ADMIN, Seaweed
from servers.stub import script
from servers.stub_s3 import Front, StubS3
from transfer.real import LARGE, SMALL_PARTS, real_connection
from transfer.rig import Rig, write_tree

pytestmark = pytest.mark.s3

ODD = {"a b": b"1", "é/ü": b"2", "100%25.txt": b"3", "q?x=1&y#z": b"4", "plus+tilde~": b"5", "a/(b)'\"*": b"6"}
BODY = random.Random(2).randbytes(LARGE)


@dataclass
class Scene:
    """A dataset, a bucket, and the front in between."""

    rig: Rig
    front: StubS3
    client: Any
    bucket: str
    engine: str
    token: Token

    def counts(self) -> Counter[str]:
        """Answered requests by operation since the last `clear`."""
        return Counter(entry.operation for entry in self.front.log.entries if entry.status == 200)

    def stored(self) -> dict[str, str]:
        """SHA-256 of each object by key, downloaded past the front."""
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for entry in page.get("Contents", []):
                body = self.client.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
                found[entry["Key"]] = hashlib.sha256(body).hexdigest()
        return found

    def assert_arrived(self) -> None:
        """S3 holds the source and the manifest beside it, and no upload is parked."""
        expected = {
            f"p/plate/{path.relative_to(self.rig.source)}": hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.rig.source.rglob("*")
            if path.is_file()
        }
        manifest = hashlib.sha256(self.rig.manifest.read_bytes()).hexdigest()
        assert self.stored() == expected | {"p/plate.manifest.jsonl.gz": manifest}
        assert self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []) == []


@pytest.fixture(params=["obstore", "s3transfer", "sender processes"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, s3_server: Seaweed, bucket: str) -> Iterator[Scene]:
    engine, count = ("obstore", 2) if request.param == "sender processes" else (request.param, 0)
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as front, Senders(count) as senders:
        senders.start()
        issued = front.tokens.issue(None)
        token = Token(issued.access_key, issued.secret_key, issued.session_token)
        connection = real_connection(front.url, bucket, engine, token)
        rig = Rig(tmp_path, connection, TransferOptions(**SMALL_PARTS), senders=senders)  # type: ignore[arg-type]
        rig.source.mkdir()
        yield Scene(rig, front, s3_server.client(), bucket, engine, token)


def small_files(number: int) -> dict[str, bytes]:
    return {f"c/{index // 20}/{index % 20}": str(index).encode() for index in range(number)}


def test_a_dataset_arrives_and_a_second_run_sends_nothing(scene: Scene) -> None:
    write_tree(scene.rig.source, small_files(150) | ODD | {"empty": b"", "large.bin": BODY})
    report = scene.rig.transfer()
    assert report.ok, report
    assert report.files_sent == 150 + len(ODD) + 2
    scene.assert_arrived()
    counts = scene.counts()
    assert counts["PutObject"] == 150 + len(ODD) + 2  # the empty file and the manifest, not the large file
    assert counts["UploadPart"] == 4
    assert "ListObjectsV2" in counts
    records = {record.name: record for record in read_manifest(scene.rig.manifest)}
    assert records["large.bin"].etag.endswith("-4")
    assert all(record.crc64nvme for record in records.values())

    scene.front.log.clear()
    again = scene.rig.transfer()
    assert (again.files_sent, again.files_skipped) == (0, report.files_sent)
    assert again.manifest_sha256 == report.manifest_sha256
    assert set(scene.counts()) == {"ListObjectsV2"}

    level = SyncLevel.CHECKSUM
    audit = audit_dataset(
        scene.rig.connection, scene.rig.manifest, source=scene.rig.source, sync_level=level, gate=lambda: None
    )
    assert list(audit) == []


def test_without_any_record_large_and_small_content_is_recognised(scene: Scene) -> None:
    write_tree(scene.rig.source, small_files(20) | {"large.bin": BODY, "other.bin": BODY[::-1]})
    assert scene.rig.transfer().ok
    # Another tool's parts: no guess of sizes, S3's own checksum or a usual size must tell.
    scene.client.put_object(Bucket=scene.bucket, Key="p/plate/other.bin", Body=BODY[::-1])
    scene.rig.manifest.unlink()
    scene.front.log.clear()
    report = scene.rig.transfer()
    assert report.ok
    assert (report.files_sent, report.files_skipped) == (0, 22)
    counts = scene.counts()
    assert counts["PutObject"] == 1, "the manifest alone"
    assert not counts["UploadPart"]


def test_a_change_of_a_large_file_is_sent_and_found(scene: Scene) -> None:
    write_tree(scene.rig.source, {"large.bin": BODY, "a": b"1"})
    assert scene.rig.transfer().ok
    write_tree(scene.rig.source, {"large.bin": BODY[:-1] + b"!"})
    scene.front.log.clear()
    report = scene.rig.transfer()
    assert (report.files_sent, report.files_skipped) == (1, 1)
    assert scene.counts()["UploadPart"] == 4
    scene.assert_arrived()


def test_refusals_and_lost_answers_on_the_way_change_nothing(scene: Scene) -> None:
    write_tree(scene.rig.source, small_files(60) | {"large.bin": BODY})
    plan = scene.front.script.plan
    plan("PutObject", script.slow_down(), times=5)
    plan("PutObject", script.reset(), times=3)
    plan("PutObject", script.lose_answer(), times=3)
    plan("UploadPart", script.refuse(500, "InternalError"), times=2)
    plan("CompleteMultipartUpload", script.lose_answer())
    plan("ListObjectsV2", script.slow_down(), times=2)
    report = scene.rig.transfer()
    assert scene.front.script.met == 16
    assert report.ok, report
    scene.assert_arrived()


def test_tokens_that_end_every_two_seconds_are_renewed_on_the_way(scene: Scene) -> None:
    write_tree(scene.rig.source, small_files(400) | {"large.bin": BODY})
    scene.front.script.plan("UploadPart", scene.front.script.hang(2.5), times=3)

    def provide(_location: S3Location) -> Grant:
        made = scene.front.tokens.issue(2.0)
        end = datetime.fromtimestamp(made.ends_at or 0, UTC)
        return Grant(Token(made.access_key, made.secret_key, made.session_token, end), renewable=True)

    options = S3Options(engine=scene.engine, endpoint_url=scene.front.url, region="us-east-1")  # type: ignore[arg-type]
    here = scene.rig.connection.location
    scene.rig.connection = connect(here, options=options, credentials=CredentialPool(provide))
    report = scene.rig.transfer()
    assert report.ok, report
    assert scene.front.tokens.issued > 2
    scene.assert_arrived()


@pytest.mark.slow
def test_kill_9_in_the_middle_then_only_what_is_missing_is_sent(scene: Scene) -> None:
    files = small_files(500) | {"large.bin": BODY, "z.zarr/0": b"0", "z.zarr/zarr.json": b"{}"}
    write_tree(scene.rig.source, files)
    # One part hangs, so the kill meets an upload whose other parts are there.
    scene.front.script.plan("UploadPart", scene.front.script.hang(60, then_serve=False), times=1)
    child = start_child(scene)
    try:
        wait_until(lambda: scene.counts()["PutObject"] > 200 and scene.counts()["UploadPart"] >= 3)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    before = scene.counts()
    assert before["PutObject"] < 502, "the kill came too late"
    assert not scene.rig.manifest.exists()
    standing = scene.stored()
    assert "p/plate/z.zarr/zarr.json" not in standing
    scene.front.log.clear()
    scene.rig.partials = [scene.rig.folder / "partial" / "plate.000001.jsonl"]
    scene.rig.generation = 1
    report = scene.rig.transfer()
    assert report.ok, report
    scene.assert_arrived()
    after = scene.counts()
    assert after["UploadPart"] == 1, "a part that was there was sent again"
    assert after["CreateMultipartUpload"] == 0
    sent_again = set(standing) & {entry.key for entry in scene.front.log.entries if entry.operation == "PutObject"}
    assert sent_again == set(), "they were there: compared, not sent"


def test_parts_of_a_file_that_left_are_cleared_away(scene: Scene) -> None:
    write_tree(scene.rig.source, {"large.bin": BODY, "a": b"1"})
    scene.rig.gate = gate_that_closes_after(lambda: scene.counts()["UploadPart"] >= 2)
    with pytest.raises(ClaimLost):
        scene.rig.transfer()
    scene.rig.gate = lambda: None
    assert scene.client.list_multipart_uploads(Bucket=scene.bucket)["Uploads"]
    (scene.rig.source / "large.bin").unlink()
    assert scene.rig.transfer().ok
    scene.assert_arrived()


def test_a_file_that_grows_between_runs_replaces_its_parked_upload(scene: Scene) -> None:
    write_tree(scene.rig.source, {"large.bin": BODY})
    scene.rig.gate = gate_that_closes_after(lambda: scene.counts()["UploadPart"] >= 2)
    with pytest.raises(ClaimLost):
        scene.rig.transfer()
    scene.rig.gate = lambda: None
    write_tree(scene.rig.source, {"large.bin": BODY + b"more"})
    assert scene.rig.transfer().ok
    scene.assert_arrived()


def test_a_large_file_that_changes_while_it_is_sent_is_never_half_old(scene: Scene) -> None:
    path = scene.rig.source / "large.bin"
    write_tree(scene.rig.source, {"large.bin": BODY})
    parts = itertools.count()

    def change(_request: Any, serve: Any) -> Any:
        if next(parts) == 2:
            with path.open("r+b") as file:
                file.write(b"new beginning")
        return serve()

    scene.front.script.plan("UploadPart", change, times=100)
    report = scene.rig.transfer()
    assert report.ok, report
    scene.assert_arrived()


def gate_that_closes_after(condition: Any) -> Any:
    def gate() -> None:
        if condition():
            raise ClaimLost("job", "a newer generation owns it", "leave it")

    return gate


def start_child(scene: Scene) -> subprocess.Popen[bytes]:
    token = scene.token
    arguments = [scene.rig.folder, scene.front.url, scene.bucket, scene.engine]
    arguments += [token.access_key, token.secret_key, token.session_token]
    tests = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-m", "transfer.real", *map(str, arguments)],
        cwd=tests,
        env={**os.environ, "PYTHONPATH": str(tests)},
        stdin=subprocess.DEVNULL,
    )


def wait_until(seen: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "the moment did not come"
        time.sleep(0.005)
