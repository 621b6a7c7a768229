"""The place of one campaign: results, a joblist on a small disk of its own, a bucket, workers behind the proxy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from e2e.lab import PREFIX, SCRIPTS
from faults.campaign.datasets import Dataset
from servers.disk import small_file_system
from servers.preloaded import forget_false_clock

DISK = "size=8m,nr_inodes=2000"
LEASE = 3.0
_PATIENCE = 90.0  # seconds in which workers bring what is left, once nothing hinders them any more
_SETTINGS = {
    "BULKHAUL_LEASE_TTL": f"{LEASE:g}",
    "BULKHAUL_HEARTBEAT": "0.5",
    "BULKHAUL_CONNECT_TIMEOUT": "2",
    "BULKHAUL_READ_TIMEOUT": "2",
    "BULKHAUL_MULTIPART_THRESHOLD": str(6 << 20),
    "BULKHAUL_PART_SIZE": str(5 << 20),
    "BULKHAUL_MAX_CONCURRENCY": "8",
}


_TRANSFER = (str(SCRIPTS / "04_transfer_plates.py"),)


@dataclass(slots=True)
class Worker:
    """A worker process, its output, and what was done to it."""

    process: subprocess.Popen[bytes]
    output: Path
    kind: str
    stopped_until: float | None = None
    killed: bool = False

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def listens(self) -> bool:
        """Whether it has begun to take signals as requests; before, they end it as they end any program."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return False
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (signal.SIGUSR1 - 1) & 1)

    @property
    def has_worked(self) -> bool:
        """Whether it ever had a job."""
        return "Uploading files from" in self.said()

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.killed = True
        self.process.kill()

    def said(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")


@dataclass(slots=True)
class Site:
    """Folders, datasets and processes; `env` is what each command of the campaign runs with."""

    folder: Path
    bucket: str
    env: Mapping[str, str]
    datasets: list[Dataset]
    workers: list[Worker] = field(default_factory=list)

    @property
    def joblist(self) -> Path:
        return self.folder / "joblist"

    def job_file(self, dataset: Dataset) -> Path:
        return self.joblist / f"{dataset.job}.txt"

    def running(self) -> list[Worker]:
        """The workers that have not ended."""
        return [worker for worker in self.workers if worker.running]

    def start_worker(self, kind: str = "worker", program: Sequence[str] = _TRANSFER, **env: str) -> Worker:
        """Start a worker; it is of interest later by its `kind`."""
        output = self.folder / f"worker-{len(self.workers):03}.log"
        with output.open("wb") as file:
            worker = Worker(self._start([*program, "-i", str(self.joblist)], env, file), output, kind)
        self.workers.append(worker)
        return worker

    def run(self, script: str, *arguments: str) -> tuple[int, str]:
        """Run a step to its end; its exit code and all that it printed."""
        output = self.folder / "command.log"
        with output.open("wb") as file:
            process = self._start([str(SCRIPTS / script), *arguments], {}, file)
        return process.wait(timeout=100), output.read_text(errors="replace")

    def end_workers(self, *, kill: bool) -> list[str]:
        """Wake all; kill them, or let them end by themselves; those that do not, though nothing hinders them."""
        hung = []
        for worker in self.running():
            worker.process.send_signal(signal.SIGCONT)
            if kill:
                worker.kill()
        until = time.monotonic() + _PATIENCE
        for worker in self.running():
            try:
                worker.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                hung.append(f"a {worker.kind} does not end: {worker.said()[-1500:]}")
                worker.kill()
                worker.process.wait()
        for worker in self.workers:
            forget_false_clock(worker.process.pid)
        return hung

    def _start(self, arguments: Sequence[str], env: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def open_site(folder: Path, datasets: list[Dataset], *, bucket: str, env: Mapping[str, str]) -> Iterator[Site]:
    """A site in `folder` with the jobs of `datasets`, which lie in its `results`; at the end no process is left."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BULKHAUL_", "SLURM"))}
    with small_file_system(folder / "joblist", options=DISK):
        site = Site(folder, bucket, {**kept, **_SETTINGS, **env}, datasets)
        target = f"s3://{bucket}/{PREFIX}"
        code, said = site.run(
            "01_extract_joblist.py", "-i", str(folder / "results"), "-o", str(site.joblist), "--target", target
        )
        assert code == 0, said
        try:
            yield site
        finally:
            site.end_workers(kill=True)
