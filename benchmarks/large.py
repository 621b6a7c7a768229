"""bulkhaul alone where joblist and plate are large: a summary of worked jobs, and a killed plate that goes on.

Prints the figures and writes them as `results/figures.json`, in the form that `docs/performance.md` is made of.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from endpoints import BUCKET, Endpoint, endpoints
from joblists import write_worked_joblist
from machine import circumstances
from measuring import Sample, run
from programs import BULKHAUL, PREFIX
from reports import report, table
from watching import first_moment

from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.transfer.manifest import Outcome, Record, Verified, encode

MISSING = 100
PER_FOLDER = 1_000
_TITLE = "A joblist and a plate that are large"
MIB = 1 << 20
_EMPTY = "d41d8cd98f00b204e9800998ecf8427e"  # of no bytes: the ETag, the same digest in base64, and their CRC64NVME
_EMPTY_MD5 = "1B2M2Y8AsgTpgAmY7PhCfg=="
_EMPTY_CRC = "AAAAAAAAAAA="
_PIPELINED = 500  # requests that are sent before their answers are read


def main(
    jobs: Annotated[int, typer.Option(help="Job files to summarise.")] = 100_000,
    files: Annotated[str, typer.Option(help="Sizes of the plates that go on, separated by commas.")] = "10000,100000",
    rounds: Annotated[int, typer.Option(help="Summaries of each kind.")] = 3,
    output: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("benchmarks/results/figures.json"),
) -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory(prefix="bulkhaul-large-") as name:
        tables = [summaries(Path(name), jobs, rounds), resumes(Path(name), [int(size) for size in files.split(",")])]
    for found in tables:
        print(f"\n{found['title']}")
        for row in [found["columns"], *found["rows"]]:
            print("  " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    notes = [
        "Of ten jobs six are done, one in a hundred failed, 64 are in work; a done one has seven lines of log.",
        f"The plate's files are empty; a worker was killed when all but the last {MISSING} were sent, so that their "
        "records lie unsorted in a partial manifest.",
    ]
    found = {**report(_TITLE, notes, tables=tables), "measured": circumstances([], scale=1.0, rounds=rounds)}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=1) + "\n")


def summaries(folder: Path, jobs: int, rounds: int) -> dict[str, Any]:
    """The table of summaries of `jobs` worked job files: without an index, and with one."""
    joblist = folder / "joblist"
    write_worked_joblist(joblist, jobs)
    index, rows = joblist / ".bulkhaul" / "index", []
    samples: dict[str, list[Sample]] = {"without the index": [], "with the index": []}
    for _ in range(rounds):
        index.unlink(missing_ok=True)
        for found in samples.values():  # the first one makes the index that the second one uses
            found.append(_bulkhaul("summarise", "-i", joblist, log=folder / "log"))
    for what, found in samples.items():
        walls = [sample.wall for sample in found]
        rss = max(sample.rss for sample in found) / MIB
        cpu = min(sample.cpu for sample in found)
        rows.append([what, jobs, statistics.median(walls), min(walls), cpu, rss])
    return table("`bulkhaul summarise`", ("", "jobs", "wall s, median", "least", "CPU s, least", "RSS MiB"), rows)


def resumes(folder: Path, sizes: list[int]) -> dict[str, Any]:
    """The table of plates of so many files that go on after a kill."""
    rows = []
    with endpoints(folder, {"sink"}) as servers:
        for size in sizes:
            rows.append([size, *_resume(folder / str(size), servers["sink"], size)])
            print(f"  resume of {size} files: {rows[-1]}", file=sys.stderr, flush=True)
    columns = ("files", "first of the missing s", "whole job s", "CPU s", "RSS MiB", "lists", "puts", "heads")
    return table("A killed plate goes on", columns, rows)


def _resume(folder: Path, server: Endpoint, files: int) -> list[float]:
    plate, joblist, log = folder / "tree" / "plate", folder / "joblist", folder / "log"
    plate.mkdir(parents=True)
    names = [f"{number // PER_FOLDER:04}/{number % PER_FOLDER:03}" for number in range(files)]
    _write_empty(plate, names)
    server.clear()
    arguments = ("-i", plate.parent, "-o", joblist, "--layout", "folders", "--target", f"s3://{BUCKET}/{PREFIX}")
    _bulkhaul("extract", *arguments, log=log)
    [job] = Joblist(joblist).names()
    with Joblist(joblist).session(this_owner()) as session:
        claim = session.claim_next(lambda: None)
        assert claim is not None
        key = (claim.target or "").removeprefix(f"s3://{BUCKET}/")
        claim.release("killed")
    _put_empty(server, (f"{key}/{name}" for name in names[:-MISSING]))
    with Joblist(joblist).work_path(job, 1).open("wb") as partial:
        partial.writelines(encode(record) + b"\n" for record in _records(plate, names[:-MISSING]))
    before = server.requests()
    # The probe has three objects there at most.
    with first_moment(lambda: server.requests()["objects"] > before["objects"] + 3) as first:
        sample = _bulkhaul("transfer", "-i", joblist, "-v", "0", log=log, env=server.environment)
    after = server.requests()
    assert after["objects"] == files + 1, "the plate and its manifest"
    requests = [after[kind] - before[kind] for kind in ("list", "put", "head")]
    return [first.seconds, sample.wall, sample.cpu, sample.rss / MIB, *requests]


def _bulkhaul(*words: object, log: Path, env: Any = None) -> Sample:
    return run([*BULKHAUL, *map(str, words)], env={**os.environ, **(env or {})}, log=log)


def _write_empty(plate: Path, names: list[str]) -> None:
    for name in names:
        if name.endswith("/000"):
            (plate / name).parent.mkdir()
        os.close(os.open(f"{plate}/{name}", os.O_CREAT | os.O_WRONLY))


def _records(plate: Path, names: list[str]) -> Iterator[Record]:
    for name in names:
        found = os.lstat(f"{plate}/{name}")
        mtime, ctime = found.st_mtime_ns, found.st_ctime_ns
        yield Record(name, Outcome.SENT, "", 0, mtime, ctime, _EMPTY, _EMPTY_CRC, Verified.PUT)


def _put_empty(server: Endpoint, keys: Iterator[str]) -> None:
    """Put empty objects many at a time on one connection: the sink answers in the order of the requests."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answers:
        waiting = 0
        for key in keys:
            # With its MD5 the sink makes the ETag of that, as S3 does.
            head = f"PUT /{BUCKET}/{key} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n"
            connection.sendall(f"{head}Content-MD5: {_EMPTY_MD5}\r\n\r\n".encode())
            waiting += 1
            if waiting == _PIPELINED:
                _read_answers(answers, waiting)
                waiting = 0
        _read_answers(answers, waiting)


def _read_answers(answers: Any, count: int) -> None:
    for _ in range(count):
        status = answers.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"the sink answered {status!r}")
        while answers.readline() != b"\r\n":
            pass


if __name__ == "__main__":
    typer.run(main)
