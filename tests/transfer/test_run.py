"""A run whose requests hang: the thread of the stages looks at the gate, since those that hang cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhaul.errors import Stopped
from bulkhaul.s3.token import Token
from bulkhaul.transfer.dataset import TransferOptions
from servers.stub.message import Answer, Request
from servers.stub_s3 import StubS3
from transfer.real import MIB, SMALL_PARTS, real_connection
from transfer.rig import NOTICED, Rig, write_tree


class Hang:
    """Requests that hang until a stop has been noticed, and the gate that tells the stages' thread alone of it."""

    def __init__(self) -> None:
        self._stages = threading.current_thread()
        self._since: float | None = None
        self._noticed = threading.Event()
        self.seconds = float("inf")

    def act(self, request: Request, serve: Callable[[], Answer]) -> Answer:
        if request.operation != "ListObjectsV2":
            _wait_for_the_plan()
        self._since = self._since or time.monotonic()
        self._noticed.wait(30)
        return serve()

    def gate(self) -> None:
        if self._since is not None and threading.current_thread() is self._stages:
            self.seconds = time.monotonic() - self._since
            self._noticed.set()
            raise Stopped("worker", "time limit", "again")


def _wait_for_the_plan() -> None:
    """Until the plan has ended, so that nothing but the lanes is waited for."""
    for thread in threading.enumerate():
        if thread.name == "planner":
            thread.join(10)


@pytest.mark.parametrize(
    ("operation", "files"),
    [
        pytest.param("ListObjectsV2", {"a": b"x"}, id="the plan"),
        pytest.param("PutObject", {"a": b"x"}, id="the last file"),
        pytest.param("PutObject", {f"{number:03}": b"x" for number in range(100)}, id="full lanes"),
        pytest.param("CreateMultipartUpload", {"large.bin": bytes(12 * MIB)}, id="a large file"),
    ],
)
def test_a_stop_is_noticed_while_every_request_hangs(
    tmp_path: Path, stub: StubS3, operation: str, files: dict[str, bytes]
) -> None:
    issued = stub.tokens.issue(None)
    keys = Token(issued.access_key, issued.secret_key, issued.session_token)
    options = TransferOptions(**SMALL_PARTS, max_concurrency=1)  # type: ignore[arg-type]
    rig, hang = Rig(tmp_path, real_connection(stub.url, "bucket", "auto", keys), options), Hang()
    rig.gate = hang.gate
    write_tree(rig.source, files)
    stub.script.plan(operation, hang.act, times=1_000)
    with pytest.raises(Stopped, match="time limit"):
        rig.transfer()
    assert hang.seconds < NOTICED
    assert not rig.manifest.exists()
