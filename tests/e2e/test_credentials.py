"""Credentials that end: tokens of a few seconds during many files and one large one; grants that fit a prefix only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.lab import PREFIX, Lab, plate_folder, plate_key, write_plate
from e2e.oracle import assert_arrived, plain_client
from servers.seaweed import ADMIN, Seaweed
from servers.stub_s3 import Front, StubS3

pytestmark = pytest.mark.s3

MIB = 1 << 20
ENGINES = pytest.mark.parametrize("engine", ["obstore", "s3transfer"])


@pytest.fixture
def gallery(lab: Lab, s3_server: Seaweed) -> Iterator[StubS3]:
    """The archive: the real S3 server behind tokens that really end, given out by S3 Access Grants."""
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as front:
        front.grants.targets.append(f"s3://{lab.bucket}/{PREFIX}/*")
        yield front


def granted(gallery: StubS3) -> dict[str, str]:
    """The environment of a user of the archive: own keys that only ask for grants."""
    return {
        **gallery.environment(gallery.tokens.issue(None)),
        "BULKHAUL_CREDENTIALS": "access-grants",
        "BULKHAUL_ACCESS_GRANTS_ACCOUNT": gallery.grants.account,
    }


def fill(lab: Lab, *, chunks: int, large: int) -> None:
    write_plate(plate_folder(lab.results, batch="J1", plate="A0001"), chunks=chunks, seed=1, large=large)
    lab.extract()


@ENGINES
@pytest.mark.slow
def test_tokens_of_three_seconds_last_through_a_multipart_upload(lab: Lab, gallery: StubS3, engine: str) -> None:
    fill(lab, chunks=300, large=64 * MIB)
    gallery.grants.life = 3.0
    gallery.script.plan("UploadPart", gallery.script.hang(2.5), times=1_000)
    lab.transfer("--engine", engine, BULKHAUL_PART_SIZE="5MiB", **granted(gallery))
    signers = {entry.access_key for entry in gallery.log.entries if entry.operation == "UploadPart"}
    assert len(signers) >= 3, "the upload did not outlive its first tokens"
    source = plate_folder(lab.results, batch="J1", plate="A0001")
    assert_arrived(plain_client(lab.env), source, bucket=lab.bucket, prefix=plate_key(batch="J1", plate="A0001"))


@ENGINES
def test_a_token_that_s3_ends_early_is_replaced_without_a_failed_file(lab: Lab, gallery: StubS3, engine: str) -> None:
    fill(lab, chunks=800, large=0)
    worker = lab.worker("--engine", engine, **granted(gallery))
    while gallery.log.counts()["PutObject"] < 200 and worker.poll() is None:
        pass
    gallery.tokens.end_all()
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0, output
    assert 400 in gallery.log.statuses("PutObject"), "no token ended while files were sent"
    source = plate_folder(lab.results, batch="J1", plate="A0001")
    assert_arrived(plain_client(lab.env), source, bucket=lab.bucket, prefix=plate_key(batch="J1", plate="A0001"))


def test_no_matching_grant_ends_the_worker_with_77_and_touches_no_job(lab: Lab, gallery: StubS3) -> None:
    fill(lab, chunks=10, large=0)
    gallery.grants.targets[:] = ["s3://another-bucket/*"]
    output = lab.transfer(expect=77, **granted(gallery))
    assert gallery.grants.account in output
    assert set(lab.statuses().values()) == {"todo"}
    assert not list((lab.joblist / ".bulkhaul" / "ledger").glob("*0000*")), "a job was claimed"
