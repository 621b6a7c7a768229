"""What the checks share: the two programs as running servers, a client, and the frame that runs check functions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import botocore.session
from botocore.config import Config

BENCHMARKS = Path(__file__).resolve().parents[1]
HERE = BENCHMARKS / "servers"
TOOLS = BENCHMARKS / ".venv" / "bin"

KEYS = {
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Program:
    """One of the two programs, running on a free port until the end of the block."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._command = [str(HERE / name), "0", *arguments]

    def __enter__(self) -> Self:
        with TemporaryDirectory() as folder:
            port_file = Path(folder) / "port"
            self.process = subprocess.Popen(
                [*self._command, "--port-file", str(port_file)], stdout=subprocess.PIPE, text=True
            )
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert port_file.read_text() == line, line
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


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run a program to its good end; what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **KEYS, **environment},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}"
    return done.stdout


def refused(call: Callable[[], Any], code: str) -> None:
    """Make a call that the sink has to refuse with that code."""
    try:
        call()
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"not refused with {code}")


def run_checks(checks: Iterable[Callable[[], str | None]]) -> int:
    """Run them all, say how each went, return how many failed."""
    failed = 0
    for check in checks:
        begun = time.monotonic()
        try:
            note, verdict = check(), "ok  "
        except Exception:
            note, verdict = "", "FAIL"
            failed += 1
            traceback.print_exc()
        name = check.__name__.replace("_", " ").strip()
        print(f"{verdict} {name} ({time.monotonic() - begun:.2f} s){': ' + note if note else ''}", flush=True)
    return failed


def checks_of(module: str) -> list[Callable[[], str | None]]:
    """The functions of a module that begin with `check_`, in their order."""
    found = vars(sys.modules[module])
    return [thing for name, thing in found.items() if name.startswith("check_") and callable(thing)]
