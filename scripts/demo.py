"""`make demo`: move six small plates to an embedded S3 server, kill a worker on the way, and prove that all arrived.

Everything happens in a temporary folder and with the real scripts, as processes of their own. Workers run through SLURM
where its nodes can reach this machine's server and folder, else as local processes. Nothing is left behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import obstore.store
import zarr
import zarr.storage

SCRIPTS = Path(__file__).resolve().parent
sys.path.insert(0, str(SCRIPTS.parent / "tests"))  # the S3 server's launcher is the tests' own
from servers.seaweed import ADMIN, Seaweed  # noqa: E402

BUCKET = "demo-archive"
PLATES = [
    (source, batch, plate)
    for source, batch, count in [
        ("source_1", "B1", 2),
        ("source_1", "B2", 1),
        ("source_2", "B1", 1),
        ("source_2", "B2", 2),
    ]
    for plate in (f"{source[-1]}{batch}P{number}" for number in range(1, count + 1))
]
CELLS, CELL = 23, 16  # 23 x 23 chunks of 16 x 16 pixels a plate: 529 files
BIG_FILE = 20 << 20  # above the multipart threshold of 16 MiB
PATIENCE = 90.0
WORKERS = 3


@dataclass(frozen=True, slots=True)
class Demo:
    """The places of this demonstration."""

    folder: Path
    server: Seaweed

    @property
    def results(self) -> Path:
        """The results folder that is moved."""
        return self.folder / "results"

    @property
    def joblist(self) -> Path:
        """The joblist."""
        return self.folder / "joblists" / "demo"

    def dataset(self, source: str, batch: str, plate: str) -> Path:
        """The folder of one plate."""
        head = self.results / "aggregated" / "broad" / "cellpainting-gallery" / "cpg0016-jump" / source
        return head / "workspace" / "segmentation" / "cellpose" / "objects" / batch / plate

    def key(self, source: str, batch: str, plate: str) -> str:
        """Where that plate's objects lie in the bucket."""
        return f"archive/cpg0016-jump/{source}/workspace/segmentation/cellpose/objects/{batch}/{plate}"


def tell(text: str) -> None:
    """Say what happens next, with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def write_results(demo: Demo) -> int:
    """Write six plates of real Zarr arrays and one large file; return the number of files."""
    random = np.random.default_rng(1)
    for source, batch, plate in PLATES:
        folder = demo.dataset(source, batch, plate)
        group = zarr.create_group(folder / f"{plate}.zarr")
        pixels = random.integers(1, 60_000, size=(CELLS * CELL, CELLS * CELL), dtype=np.uint16)
        group.create_array("single_cells", data=pixels, chunks=(CELL, CELL))
    (demo.dataset(*PLATES[0]) / "features.bin").write_bytes(random.bytes(BIG_FILE))
    return sum(path.is_file() for path in demo.results.rglob("*"))


def write_settings(demo: Demo) -> None:
    """One `bulkhaul.toml` for all steps; keys come from a command, so no process environment holds them."""
    keys = {"Version": 1, "AccessKeyId": ADMIN.access_key, "SecretAccessKey": ADMIN.secret_key}
    (demo.folder / "keys.json").write_text(json.dumps(keys))
    (demo.folder / "bulkhaul.toml").write_text(
        f"""results = "results"
target = "s3://{BUCKET}/archive"
joblist = "joblists/demo"
endpoint_url = "{demo.server.url}"
region = "us-east-1"
credentials = "command"
credential_command = ["cat", "{demo.folder / "keys.json"}"]
lease_ttl = 6
heartbeat = 1
max_concurrency = 4
"""
    )


def command(script: str, *arguments: str) -> list[str]:
    """The command line of one of the numbered scripts."""
    return [sys.executable, str(SCRIPTS / script), *arguments]


def environment() -> dict[str, str]:
    """This process's environment without settings that would get in the demo's way."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("BULKHAUL_", "AWS_"))}


def step(demo: Demo, script: str, *arguments: str) -> str:
    """Run one script to its end and return what it printed; a failure ends the demo."""
    done = subprocess.run(  # noqa: S603 - our own script
        command(script, *arguments), cwd=demo.folder, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{script} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def objects_in(demo: Demo) -> int:
    """The number of objects in the bucket, as the server lists them."""
    pages = demo.server.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return sum(page["KeyCount"] for page in pages)


def wait_for_objects(demo: Demo, count: int) -> None:
    """Wait until `count` objects are there: the workers are in the midst of it."""
    deadline = time.monotonic() + PATIENCE
    while objects_in(demo) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"no {count} objects after {PATIENCE:.0f} s")
        time.sleep(0.1)


def transfer_locally(demo: Demo) -> None:
    """Three workers as local processes; the first is killed on the way, the others take its plate over."""
    logs = [demo.folder / f"worker-{number}.log" for number in range(WORKERS)]
    tell(f"transferring with {WORKERS} workers as local processes")
    workers = []
    try:
        for log in logs:
            with log.open("wb") as output:
                workers.append(
                    subprocess.Popen(  # noqa: S603 - our own script
                        command("04_transfer_plates.py"),
                        cwd=demo.folder,
                        env=environment(),
                        stdout=output,
                        stderr=output,
                    )
                )
        wait_for_objects(demo, 200)
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait()
        tell(f"killed worker 1 with kill -9 in the midst of {last_job(logs[0])}; the others take it over")
        for worker, log in zip(workers[1:], logs[1:], strict=True):
            if worker.wait(timeout=PATIENCE) != 0:
                raise SystemExit(f"a worker ended with {worker.returncode}:\n{log.read_text()}")
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def last_job(log: Path) -> str:
    """The job that a worker claimed last, by what it said."""
    lines = [line for line in log.read_text().splitlines() if "job: " in line]
    return lines[-1].split("job: ")[1] if lines else "nothing"


def slurm(*arguments: str, timeout: float = 20.0) -> str | None:
    """What a SLURM command printed; None when it is missing, fails or does not answer."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed SLURM command
            arguments, capture_output=True, text=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def nodes_reach(demo: Demo) -> bool:
    """Whether a SLURM node sees this folder and this machine's server."""
    if slurm("sinfo", "-h", "-o", "%T", timeout=5.0) is None:
        return False
    look = "import sys, urllib.request as u; open(sys.argv[1]); u.urlopen(sys.argv[2], timeout=5)"
    seen = [str(demo.folder / "keys.json"), f"{demo.server.url}/status"]
    return slurm("srun", "--immediate=10", "--time=1", "-n1", sys.executable, "-c", look, *seen) is not None


def transfer_through_slurm(demo: Demo) -> None:
    """An array of three workers; one task is killed on the way, the others take its plate over."""
    answer = json.loads(step(demo, "03_submit_array.py", "--array-size", str(WORKERS), "--json"))
    array = str(answer["slurm_job_id"])
    tell(f"transferring with {WORKERS} workers through SLURM (array {array})")
    try:
        wait_for_objects(demo, 200)
        slurm("scancel", "--signal=KILL", "--full", f"{array}_0")
        tell(f"killed task {array}_0 with signal 9; the others take its plate over")
        deadline = time.monotonic() + PATIENCE
        while slurm("squeue", "-h", "-j", array):
            if time.monotonic() > deadline:
                raise SystemExit(f"array {array} did not end within {PATIENCE:.0f} s")
            time.sleep(0.5)
    finally:
        slurm("scancel", array)


def compare_plate(demo: Demo) -> None:
    """Open a plate from S3 with zarr and compare it with the source, and the large file by SHA-256."""
    place = PLATES[0]
    store = obstore.store.S3Store(
        BUCKET,
        prefix=f"{demo.key(*place)}/{place[2]}.zarr",
        endpoint=demo.server.url,
        region="us-east-1",
        access_key_id=ADMIN.access_key,
        secret_access_key=ADMIN.secret_key,
        client_options={"allow_http": True},
    )
    there: Any = zarr.open_group(zarr.storage.ObjectStore(store, read_only=True), mode="r")
    here: Any = zarr.open_group(demo.dataset(*place) / f"{place[2]}.zarr", mode="r")
    if not np.array_equal(there["single_cells"][:], here["single_cells"][:]):
        raise SystemExit("the plate read from S3 differs from its source")
    body = demo.server.client().get_object(Bucket=BUCKET, Key=f"{demo.key(*place)}/features.bin")["Body"].read()
    if hashlib.sha256(body).digest() != hashlib.sha256((demo.dataset(*place) / "features.bin").read_bytes()).digest():
        raise SystemExit("the large file read from S3 differs from its source")


@contextmanager
def temporary_demo() -> Iterator[Demo]:
    """A demo in a folder of its own with a running S3 server, and nothing of either afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bulkhaul-demo-"))
    try:
        with Seaweed(folder / "s3") as server:
            server.client().create_bucket(Bucket=BUCKET)
            yield Demo(folder, server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run the demonstration from one end to the other."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tell("starting an embedded S3 server (SeaweedFS)")
    with temporary_demo() as demo:
        files = write_results(demo)
        write_settings(demo)
        tell(f"wrote {len(PLATES)} plates of 2 sources and 2 batches: {files} files, one of {BIG_FILE >> 20} MiB")
        created = json.loads(step(demo, "01_extract_joblist.py", "-o", str(demo.joblist), "--json"))["created"]
        tell(f"01 extract: {len(created)} job files")
        step(demo, "02_check_joblist.py")
        tell("02 check: sources readable, keys fine, bucket writable")
        if nodes_reach(demo):
            transfer_through_slurm(demo)
        else:
            transfer_locally(demo)
        tell(f"04 transfer: {objects_in(demo)} objects in S3 (with one manifest a plate)")
        step(demo, "05_verify_transfer.py")
        tell("05 verify: every finished plate equals its manifest")
        summary = json.loads(step(demo, "summarise_jobs.py", "--json"))
        if summary["success"] != len(PLATES):
            raise SystemExit(f"not all plates arrived: {summary}")
        tell(f"summary: {summary['success']} of {summary['total']} jobs in success")
        compare_plate(demo)
        tell(f"opened {PLATES[0][2]}.zarr from S3 with zarr: equal to the source, and so is the large file")
    tell("done; nothing is left running or on disk")


STARTED = time.monotonic()

if __name__ == "__main__":
    main()
