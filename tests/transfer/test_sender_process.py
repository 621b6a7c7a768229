"""One sender process, spoken to directly."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from bulkhaul.s3.endpoint import Endpoint, S3Options
from bulkhaul.s3.engine import RemoteObject
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from bulkhaul.sources.tree import LocalFile, walk
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.senders import Senders
from bulkhaul.transfer.spool import encode_batch
from bulkhaul.transfer.wire import Begin, Files, Pulse, Settled
from servers.stub import script
from servers.stub_s3 import StubS3
from transfer.rig import md5, write_tree


def test_the_last_file_is_reported_without_another_pulse(tmp_path: Path) -> None:
    """Two threads that settled the last two at the same time each left the report to the other."""
    rounds, files = 150, 16
    write_tree(tmp_path, {f"{number:02d}": b"x" for number in range(files)})
    tasks = [
        Compare(file, RemoteObject(f"p/{file.name}", 1, md5(b"x")))
        for file in walk(tmp_path)
        if isinstance(file, LocalFile)
    ]
    endpoint = Endpoint("http://127.0.0.1:9", "us-east-1", None, path_style=True)
    with Senders(1) as senders:
        senders.start()
        (sender,) = senders.alive()
        watchdog = threading.Timer(30.0, sender.kill)
        watchdog.start()
        sender.post(Begin(tmp_path, S3Location("bucket", "p"), endpoint, S3Options(), part_size=1 << 24))
        for turn in range(rounds):
            sender.post(Pulse(64, Token("key", "secret"), time.monotonic()))
            assert sender.receive() == Settled()  # the answer to the pulse, and the only one
            sender.post(Files(turn * files, encode_batch(tasks)))
            settled = 0
            while settled < files:
                report = sender.receive()
                assert isinstance(report, Settled), "it was silent for half a minute"
                settled += len(report.records)
        watchdog.cancel()


def test_what_ends_a_sender_is_in_the_workers_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = Endpoint("http://127.0.0.1:9", "us-east-1", None, path_style=True)
    with Senders(1) as senders:
        senders.start()
        (sender,) = senders.alive()
        sender.post(Begin(tmp_path, S3Location("bucket", "p"), endpoint, S3Options(), part_size=1 << 24))
        sender.post(Files(0, b"no tasks"))
        assert sender.receive() is None, "it has ended"
        deadline = time.monotonic() + 10
        while not any("Error" in text for text in caplog.messages) and time.monotonic() < deadline:
            time.sleep(0.02)
    said = [text for text in caplog.messages if text.startswith(f"sender process (pid {sender.pid}): ")]
    assert any("Traceback" in text for text in said)
    assert "Error: bad marshal data" in said[-1]


def test_after_a_refusal_nothing_more_is_sent_and_all_is_handed_back(tmp_path: Path, stub: StubS3) -> None:
    """It knows no rate: what lay ready in the senders of eight workers was sent at once, and mostly refused."""
    write_tree(tmp_path, {f"{number:02d}": b"x" for number in range(60)})
    tasks = [Upload(file, "missing") for file in walk(tmp_path) if isinstance(file, LocalFile)]
    stub.script.plan("PutObject", script.slow_down(), times=1_000)
    token = stub.tokens.issue(None)
    keys = Token(token.access_key, token.secret_key, token.session_token)
    endpoint = Endpoint(stub.url, "us-east-1", None, path_style=True)
    with Senders(1) as senders:
        senders.start()
        (sender,) = senders.alive()
        watchdog = threading.Timer(30.0, sender.kill)
        watchdog.start()
        sender.post(Begin(tmp_path, S3Location("bucket", "p"), endpoint, S3Options(), part_size=1 << 24))
        sender.post(Pulse(4, keys, time.monotonic()))
        sender.post(Files(0, encode_batch(tasks)))
        returned: set[int] = set()
        while len(returned) < len(tasks):
            report = sender.receive()
            assert isinstance(report, Settled), "it was silent for half a minute"
            returned.update(report.returned)
        watchdog.cancel()
    assert len(stub.log.statuses("PutObject")) <= 4, "those that were in flight"
