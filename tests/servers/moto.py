"""moto's server as a process: STS with AssumeRole, and an S3 that accepts wrong checksums and wrong secrets."""

from __future__ import annotations

import subprocess
import sysconfig
import time
from pathlib import Path
from types import TracebackType

from botocore.exceptions import BotoCoreError

from servers import children
from servers.ports import free_ports
from servers.seaweed import plain_client


class MotoServer:
    """A running moto server: `url`. A context manager; ended with this process anyway."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> MotoServer:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        program = Path(sysconfig.get_path("scripts")) / "moto_server"
        log = self._folder / "log"
        self._process = children.start([str(program), "-H", "127.0.0.1", "-p", str(port)], log=log, cwd=self._folder)
        client = plain_client(self.url, "any", "any")
        for _ in range(600):
            try:
                client.list_buckets()
            except BotoCoreError:
                time.sleep(0.05)
            else:
                return self
        children.stop(self._process)
        raise RuntimeError(f"moto did not start:\n{log.read_text()[-2000:]}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        children.stop(self._process)
