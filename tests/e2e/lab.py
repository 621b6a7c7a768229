"""A small lab for the end-to-end tests: results in the jump layout, the scripts as a person starts them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SCRIPTS = CHECKOUT / "scripts"
PREFIX = "gallery"
ENGINES = ["obstore", "s3transfer"]

# Short times, so that a take-over is seen within seconds.
SHORT_LEASE = {"BULKHAUL_LEASE_TTL": "3", "BULKHAUL_HEARTBEAT": "0.5"}


def plate_folder(results: Path, *, batch: str, plate: str, source: str = "source_8") -> Path:
    """Where the jump layout keeps a plate."""
    return (
        results
        / "aggregated/broad/cellpainting-gallery/cpg0016-jump"
        / source
        / "workspace/segmentation/cellpose/objects"
        / batch
        / plate
    )


def plate_key(*, batch: str, plate: str, source: str = "source_8") -> str:
    """The key of a plate below the tests' target prefix."""
    return f"{PREFIX}/cpg0016-jump/{source}/workspace/segmentation/cellpose/objects/{batch}/{plate}"


def job_name(plate: str, *, batch: str = "J1") -> str:
    """The job of a plate."""
    return f"source_8__{batch}__{plate}"


def write_plate(folder: Path, *, chunks: int, seed: int, large: int = 0) -> None:
    """A plate: a Zarr-like tree with `chunks` chunk files and its metadata, and one file of `large` bytes beside it."""
    content = random.Random(seed)
    zarr = folder / f"{folder.name}.zarr"
    for number in range(chunks):
        chunk = zarr / "labels" / "c" / str(number // 50) / str(number % 50)
        chunk.parent.mkdir(parents=True, exist_ok=True)
        chunk.write_bytes(content.randbytes(content.randint(1, 2_000)))
    (zarr / "labels").mkdir(parents=True, exist_ok=True)
    (zarr / "labels" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "array"}')
    (zarr / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    # Sorts before its neighbours in S3 and after them on servers that list a folder by its bare name.
    (folder / f"{folder.name}.zarr.log").write_text("segmented\n")
    if large:
        (folder / "objects.csv").write_bytes(content.randbytes(large))


@dataclass(slots=True)
class Lab:
    """One results folder, one joblist, one bucket; runs scripts with its environment and ends what it started."""

    folder: Path
    bucket: str
    env: Mapping[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def joblist(self) -> Path:
        return self.folder / "source08"

    @property
    def target(self) -> str:
        return f"s3://{self.bucket}/{PREFIX}"

    def command(self, script: str, *arguments: object) -> list[str]:
        return [sys.executable, str(SCRIPTS / script), *map(str, arguments)]

    def start(self, script: str, *arguments: object, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command(script, *arguments),
            cwd=self.folder,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if "--json" in arguments else subprocess.STDOUT,
            text=True,
        )
        self.running.append(process)
        return process

    def run(self, script: str, *arguments: object, expect: int = 0, **env: str) -> str:
        """What the script printed; it must end with the exit code `expect`."""
        process = self.start(script, *arguments, **env)
        output, errors = process.communicate(timeout=100)
        said = f"{output}\n{errors or ''}"
        assert process.returncode == expect, f"{script} ended with {process.returncode}, not {expect}:\n{said}"
        return output

    def fill(self, *, plates: int = 2, chunks: int = 3, large: int = 0) -> list[str]:
        """Write plates into the batch `J1` and extract their jobs; the plates' names."""
        names = [f"A{number:04d}" for number in range(1, plates + 1)]
        for seed, name in enumerate(names):
            write_plate(plate_folder(self.results, batch="J1", plate=name), chunks=chunks, seed=seed, large=large)
        self.extract()
        return names

    def extract(self) -> str:
        return self.run("01_extract_joblist.py", "-i", self.results, "-o", self.joblist, "--target", self.target)

    def worker(self, *arguments: object, **env: str) -> subprocess.Popen[str]:
        return self.start("04_transfer_plates.py", "-i", self.joblist, *arguments, **env)

    def transfer(self, *arguments: object, expect: int = 0, **env: str) -> str:
        return self.run("04_transfer_plates.py", "-i", self.joblist, *arguments, expect=expect, **env)

    def retry(self) -> None:
        """Set the jobs in `error` back to `todo`."""
        command = [sys.executable, "-m", "bulkhaul", "retry", "-i", str(self.joblist)]
        done = subprocess.run(command, cwd=self.folder, env=dict(self.env), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def type_todo(self) -> None:
        """Write `todo` over `success`, as a person does who wants all of it looked at again."""
        for path in self.joblist.glob("[!.]*.txt"):
            path.write_bytes(path.read_bytes().replace(b"success", b"todo", 1))

    def statuses(self) -> dict[str, str]:
        """The first line of each job file, as `head -1` shows it."""
        return {path.stem: path.read_text().split("\n", 1)[0] for path in sorted(self.joblist.glob("[!.]*.txt"))}

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()


def make_lab(folder: Path, *, bucket: str, env: Mapping[str, str]) -> Lab:
    """A lab in `folder` with nothing of the test's own settings or credentials but `env`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BULKHAUL_", "SLURM"))}
    return Lab(folder, bucket, {**kept, **SHORT_LEASE, **env})


def wait_until(seen: Callable[[], bool], *, seconds: float = 60.0, what: str) -> None:
    """Poll until `seen`; fail by name when it does not come."""
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
