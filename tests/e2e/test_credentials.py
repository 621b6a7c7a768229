"""Credentials that end: tokens of a few seconds during many files and one large one; grants that fit a prefix only."""

from __future__ import annotations

import pytest

from e2e.lab import PREFIX, Lab, plate_key
from e2e.oracle import assert_plates_arrived
from e2e.turnstile import amid_files, granted_env, worker_held
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3

MIB = 1 << 20


@pytest.fixture
def gallery(lab: Lab, front: StubS3) -> StubS3:
    """The archive: the real S3 server behind tokens that really end, given out by S3 Access Grants."""
    front.grants.targets.append(f"s3://{lab.bucket}/{PREFIX}/*")
    return front


@pytest.mark.slow
def test_tokens_of_three_seconds_last_through_a_multipart_upload(lab: Lab, gallery: StubS3, engine: str) -> None:
    # Three rounds of four parts at 2.5 seconds: whatever token a round begins with, the next needs another.
    plates = lab.fill(plates=1, chunks=100, large=45 * MIB)
    gallery.grants.life = 3.0
    large = f"{plate_key(batch='J1', plate=plates[0])}/objects.csv"
    gallery.script.plan("UploadPart", gallery.script.hang(2.5), times=1_000, key=large)
    lab.transfer("--engine", engine, BULKHAUL_PART_SIZE="5MiB", **granted_env(gallery))
    signers = {
        entry.access_key for entry in gallery.log.entries if entry.operation == "UploadPart" and entry.key == large
    }
    assert len(signers) >= 3, "the upload did not outlive its first tokens"
    assert_plates_arrived(lab, *plates)


def test_a_token_that_s3_ends_early_is_replaced_without_a_failed_file(lab: Lab, gallery: StubS3, engine: str) -> None:
    plates = lab.fill(plates=1, chunks=300)
    with worker_held(lab, amid_files(gallery), "--engine", engine, env=granted_env(gallery)):
        gallery.tokens.end_all()
    assert 400 in gallery.log.statuses("PutObject"), "no token ended while files were sent"
    assert_plates_arrived(lab, *plates)


def test_no_matching_grant_ends_the_worker_with_77_and_touches_no_job(lab: Lab, gallery: StubS3) -> None:
    lab.fill(plates=1, chunks=10)
    gallery.grants.targets[:] = ["s3://another-bucket/*"]
    output = lab.transfer(expect=77, **granted_env(gallery))
    assert gallery.grants.account in output
    assert set(lab.statuses().values()) == {"todo"}
    assert not list((lab.joblist / ".bulkhaul" / "ledger").glob("*0000*")), "a job was claimed"
