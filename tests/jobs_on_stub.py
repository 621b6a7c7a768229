"""Joblists of one-file jobs whose targets lie on the stub, and a worker of this process that moves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bulkhaul.joblist.heartbeat import LeaseTimes
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.s3 import connection
from bulkhaul.s3.connection import Connection
from bulkhaul.s3.credentials import CredentialPool, Grant
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.token import Token
from bulkhaul.transfer.dataset import TransferOptions
from bulkhaul.worker import WorkerReport, transfer_joblist
from servers.stub_s3 import StubS3

Connect = Callable[[S3Location], Connection]


def connect_to(stub: StubS3, *, engine: Any = "auto", renewable: bool = False) -> Connect:
    """The way to the stub with keys that do not end; `renewable` ones are others each time they are asked for."""
    issued = stub.tokens.issue(None)

    def grant(_location: S3Location) -> Grant:
        token = stub.tokens.issue(None) if renewable else issued
        return Grant(Token(token.access_key, token.secret_key), renewable=renewable)

    pool = CredentialPool(grant)
    options = S3Options(engine=engine, endpoint_url=stub.url, region="us-east-1")
    return lambda location: connection.connect(location, options=options, credentials=pool)


def make_jobs(folder: Path, *names: str, bucket: str = "bucket") -> Joblist:
    """A joblist below `folder` with a job for each of `names`; its dataset is one file, `lab/NAME/data` in S3."""
    joblist = Joblist(folder / "jobs", create=True)
    for name in names:
        (folder / name).mkdir()
        (folder / name / "data").write_text(name)
        joblist.add(name, source=folder / name, target=f"s3://{bucket}/lab/{name}")
    return joblist


def run_worker(joblist: Joblist, connect: Connect, options: TransferOptions | None = None) -> WorkerReport:
    """One worker, until it goes home."""
    return transfer_joblist(
        joblist.folder,
        lease=LeaseTimes(ttl=3, heartbeat=0.5),
        connect=connect,
        target_of=str,
        options=options or TransferOptions(),
    )


def statuses(joblist: Joblist) -> dict[str, str]:
    """The first line of each job file."""
    return {name: joblist.path(name).read_text().split("\n")[0] for name in joblist.names()}
