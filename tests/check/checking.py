"""A joblist with jobs, the check of it, and what the check found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bulkhaul.check.joblist import CheckReport, check_joblist
from bulkhaul.errors import UsageError
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.s3.connection import Connection, connect
from bulkhaul.s3.credentials import CredentialPool
from bulkhaul.s3.endpoint import S3Options
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.providers import default_chain

BUCKET = "bkt"


def by_default_chain() -> Callable[[S3Location], Connection]:
    """The way to S3 with the keys and endpoint of the environment."""
    options = S3Options(connect_timeout=2.0, read_timeout=10.0)
    pool = CredentialPool(default_chain(options))
    return lambda location: connect(location, options=options, credentials=pool)


def no_target(source: Path) -> str:
    """Settings that give no source a target."""
    raise UsageError(source, "no layout fits", "set one")


def make_dataset(folder: Path, *files: str) -> Path:
    """A dataset with these files of five bytes, or with one."""
    for file in files or ("zarr.json",):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"12345")
    return folder


def add(joblist: Joblist, name: str, source: Path, target: str = "") -> None:
    """Add a job; its target is below the stub's bucket unless given."""
    joblist.add(name, source=source, target=target or f"s3://{BUCKET}/{name}")


def check(joblist: Joblist, connector: Callable[[S3Location], Connection] | None = None) -> CheckReport:
    """The check of a joblist, by default with the environment's keys."""
    return check_joblist(joblist.folder, connect=connector or by_default_chain(), target_of=no_target)


def problems(report: CheckReport) -> list[str]:
    """The findings that count, as `thing: reason`."""
    return [f"{finding.thing}: {finding.reason}" for finding in report.findings if finding.exit_code]


def notices(report: CheckReport) -> list[str]:
    """The findings that are only told."""
    return [f"{finding.thing}: {finding.reason}" for finding in report.findings if not finding.exit_code]
