"""The test servers keep their own promises: what the other tests prove rests on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from servers.seaweed import ADMIN, Seaweed, plain_client
from servers.stub import script
from servers.stub_s3 import Front, IssuedToken, StubS3

ODD_KEYS = ["a b", "a+b", "a%2Fb", "ä/ö", "a=b&c?d", "a'b\"c", "a~b", "a b/x", "z"]


def client_of(stub: StubS3, token: IssuedToken) -> Any:
    return plain_client(stub.url, token.access_key, token.secret_key, session_token=token.session_token)


def test_the_stub_lists_in_byte_order_over_pages(stub: StubS3) -> None:
    stub.store.page_size = 2
    client = client_of(stub, stub.tokens.issue(None))
    for key in [*ODD_KEYS, "a", "a/x", "a.x", "A", "😀", "\ufffd"]:
        client.put_object(Bucket="bucket", Key=key, Body=b"x")

    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket")
    keys = [one["Key"] for page in pages for one in page["Contents"]]

    assert keys == sorted([*ODD_KEYS, "a", "a/x", "a.x", "A", "😀", "\ufffd"], key=str.encode)
    assert stub.log.counts()["ListObjectsV2"] == 8


def test_a_lost_answer_was_done_and_a_reset_was_not(stub: StubS3) -> None:
    client = client_of(stub, stub.tokens.issue(None))
    stub.script.plan("PutObject", script.lose_answer(), key="lost")
    stub.script.plan("PutObject", script.reset(), key="reset")

    for key in ("lost", "reset"):
        with pytest.raises(ConnectionClosedError):
            client.put_object(Bucket="bucket", Key=key, Body=b"x")
    assert set(stub.store.buckets["bucket"]) == {"lost"}


def test_a_front_passes_on_whatever_key_and_ends_tokens(s3_server: Seaweed, bucket: str) -> None:
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as front:
        token = front.tokens.issue(3600)
        client = client_of(front, token)
        for key in ODD_KEYS:
            client.put_object(Bucket=bucket, Key=key, Body=key.encode())
        upload = {"Bucket": bucket, "Key": "a large/one"}
        upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
        client.upload_part(**upload, PartNumber=1, Body=b"x" * 1000)
        assert client.list_parts(**upload)["Parts"][0]["Size"] == 1000
        client.abort_multipart_upload(**upload)
        front.tokens.end_all()
        with pytest.raises(ClientError, match="ExpiredToken"):
            client.put_object(Bucket=bucket, Key="late", Body=b"")

    direct = s3_server.client()
    listed = {one["Key"] for one in direct.list_objects_v2(Bucket=bucket)["Contents"]}
    assert listed == set(ODD_KEYS)
    for key in ODD_KEYS:
        assert direct.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()


def test_a_hanging_stub_ends_at_once_when_it_is_stopped() -> None:
    with StubS3() as stub:
        stub.store.make_bucket("bucket")
        stub.script.plan("HeadBucket", stub.script.hang(60))
        token = stub.tokens.issue(None)
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); from servers.seaweed import plain_client;"
            "plain_client(sys.argv[2], sys.argv[3], 'x').head_bucket(Bucket='bucket')"
        )
        tests = Path(__file__).parent.parent
        caller = subprocess.Popen(
            [sys.executable, "-c", program, str(tests), stub.url, token.access_key], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not stub.script.met and time.monotonic() < deadline:
            time.sleep(0.01)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    assert caller.wait(20) != 0


@pytest.mark.s3
@pytest.mark.slow
def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from servers.seaweed import Seaweed;"
        "server = Seaweed(Path(sys.argv[2])); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    tests = Path(__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tests), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        os.kill(starter.pid, signal.SIGKILL)
        starter.wait(10)
    deadline = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
