"""The benchmarks' servers as running processes, with a client, and other programs run to their end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from servers import children

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SERVERS = BENCHMARKS / "servers"
PEERS = BENCHMARKS / ".venv" / "bin"

KEYS = {
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Program:
    """One of the servers, running on a free port until the end of the block, which has to be a clean one."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._command = [str(SERVERS / name), "0", *arguments]

    def __enter__(self) -> Self:
        with TemporaryDirectory() as name:
            folder = Path(name)
            self.process = children.start(
                [*self._command, "--port-file", str(folder / "port")], log=folder / "log", cwd=folder
            )
            line = _first_line(folder / "log", self.process)
            assert (folder / "port").read_text() == line, line
        self.port = int(line.removeprefix("listening "))
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGTERM)

    def end(self, number: int) -> float:
        """Send the signal; return the seconds until the end, which has to be a clean one."""
        begun = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(5) == 0, f"{self._command[0]} ended with {self.process.returncode}"
        return time.monotonic() - begun

    def stats(self) -> dict[str, int]:
        """The sink's counters."""
        with urllib.request.urlopen(f"{self.url}/_/stats") as answer:
            return dict(json.load(answer))

    def reset(self) -> None:
        """Zero the sink's counters, drop its objects."""
        urllib.request.urlopen(f"{self.url}/_/reset").close()

    def client(self, **config: Any) -> Any:
        """A botocore client of the sink; a bucket for what it does is there."""
        client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, **config),
        )
        if not any(one["Name"] == "bucket" for one in client.list_buckets()["Buckets"]):
            client.create_bucket(Bucket="bucket")
        return client

    def cpu(self) -> float:
        """Seconds of CPU that the server has used."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, name: str) -> int:
        """KiB of `VmRSS` or `VmHWM`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:"))


def _first_line(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 20
    while not (text := log.read_text()).endswith("\n"):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, "no word within 20 s"
        time.sleep(0.002)
    return text


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program to its good end; what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **KEYS},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}"
    return done.stdout


def refused(code: str) -> Any:
    """The block makes a call that the sink has to refuse with that code."""
    return pytest.raises(ClientError, match=rf"\({code}\)")
