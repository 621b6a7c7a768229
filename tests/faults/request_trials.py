"""One trial of a transfer: the real worker is killed at one of its requests, another ends the job, an oracle judges.

A request is known by what it asks for, not by its place in a row: requests are in flight side by side, and each one has
to be met in its turn.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from e2e.accounts import JOB, PREFIX, assert_books, plate
from e2e.lab import Lab, make_lab, wait_until, write_plate
from e2e.large import IN_PARTS, MIB, through
from e2e.oracle import plain_client, remote_keys
from servers.seaweed import ADMIN, Seaweed
from servers.stub.message import Answer, Request
from servers.stub_s3 import Front, StubS3

_RANDOM = re.compile(r"[0-9a-f]{8,}")


class When(StrEnum):
    """The worker dies when S3 has not yet done what it asks for, or when that is done and no answer is out."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Cut:
    """One request of a transfer by one engine: the `number`th of its name."""

    engine: str
    name: str
    number: int
    when: When


@dataclass(slots=True)
class Requests:
    """Names the requests that pass; at the one that is chosen it kills the worker, which then gets no answer."""

    chosen: Cut | None = None
    met: bool = False
    seen: Counter[str] = field(default_factory=Counter)
    worker: subprocess.Popen[str] | None = None
    begun: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def act(self, request: Request, serve: Callable[[], Answer]) -> Answer:
        """What the front does with a request."""
        with self._turn:
            name = _name(request)
            self.seen[name] += 1
            fits = self.chosen is not None and (self.chosen.name, self.chosen.number) == (name, self.seen[name])
            self.met = self.met or fits
        if not fits or self.chosen is None:
            return serve()
        if self.chosen.when is When.AFTER:
            serve()
        assert self.begun.wait(30), "the worker asks before it has begun"
        assert self.worker is not None
        self.worker.kill()
        self.worker.wait()
        return Answer(cut=True)


def _name(request: Request) -> str:
    query = request.query
    about = request.key or query.get("prefix", "")
    part = f" {query['partNumber']}" if "partNumber" in query else ""
    # Its bucket is another each time; of a key the tokens of the probes are.
    return f"{request.operation} {_RANDOM.sub('*', about)}{part}"


@dataclass(frozen=True, slots=True)
class Site:
    """The server, a front of it and a plate that all trials send."""

    server: Seaweed
    front: StubS3
    folder: Path

    @contextmanager
    def lab(self, name: str, *, engine: str) -> Iterator[Lab]:
        """A fresh joblist with the job of the plate, and a fresh bucket; both go with all that is in them."""
        bucket = f"cut-{name}-{uuid.uuid4().hex[:8]}"
        client = self.server.client()
        client.create_bucket(Bucket=bucket)
        lab = make_lab(
            self.folder / name, bucket=bucket, env={**self.server.environment(ADMIN), "BULKHAUL_ENGINE": engine}
        )
        lab.joblist.mkdir(parents=True)
        lab.results.symlink_to(self.folder / "results")
        job = (self.folder / "source08" / f"{JOB}.txt").read_text()
        (lab.joblist / f"{JOB}.txt").write_text(job.replace("s3://extracted/", f"s3://{bucket}/"))
        try:
            yield lab
        finally:
            lab.close()
            client.delete_bucket(Bucket=bucket)
            shutil.rmtree(lab.folder)


@contextmanager
def site(server: Seaweed, folder: Path) -> Iterator[Site]:
    """A site with a plate of a few Zarr files and one file in two parts, its job extracted."""
    lab = make_lab(folder, bucket="extracted", env=server.environment(ADMIN))
    write_plate(plate(lab), chunks=3, seed=1, large=6 * MIB)
    lab.extract()
    with StubS3(front=Front(server.url, ADMIN.access_key, ADMIN.secret_key)) as front:
        yield Site(server, front, folder)


def find_requests(site: Site, engine: str) -> Counter[str]:
    """The names of all requests of a transfer that nobody disturbs, and how often each came."""
    requests = Requests()
    with site.lab(f"found-{engine}", engine=engine) as lab:
        said = _transfer(site, lab, requests)
        assert requests.worker is not None
        assert requests.worker.returncode == 0, said
        assert wrong(lab) == ""
    return requests.seen


def try_cut(site: Site, cut: Cut, name: str) -> str:
    """Kill a worker at `cut`, let a normal one end the job; what is wrong then, empty where nothing is."""
    requests = Requests(cut)
    with site.lab(name, engine=cut.engine) as lab:
        said = _transfer(site, lab, requests)
        if not requests.met:
            return f"the request never came:\n{said}"
        try:
            lab.transfer(**IN_PARTS)
        except AssertionError as error:
            return str(error)
        return wrong(lab)


def _transfer(site: Site, lab: Lab, requests: Requests) -> str:
    """Run a worker through the front to its end, whatever that is; what it said."""
    site.front.script.plan("*", requests.act, times=1_000_000)
    requests.worker = lab.worker(**through(site.front))
    requests.begun.set()
    said, _ = requests.worker.communicate(timeout=60)
    wait_until(lambda: not site.front.busy, what="the front has no client")
    site.front.script.clear()
    return said


def wrong(lab: Lab) -> str:
    """What the oracle finds wrong with a job that ought to be done."""
    if lab.statuses() != {JOB: "success"}:
        return f"not done: {lab.statuses()}"
    try:
        assert_books(lab, {})
    except AssertionError as error:
        where = traceback.extract_tb(error.__traceback__)[-1].line
        return f"the books do not agree: {where}: {error}"
    # Nothing beside the plate and its manifest: what a killed worker tried the server with is gone too.
    others = {
        key
        for key in remote_keys(plain_client(lab.env), lab.bucket)
        if not key.startswith(f"{PREFIX}/") and key != f"{PREFIX}.manifest.jsonl.gz"
    }
    return f"left in the bucket: {sorted(others)}" if others else ""
