"""A transfer whose worker is killed at one of its requests recovers, and the oracle sees what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.accounts import PREFIX
from e2e.large import IN_PARTS, KEY, through
from e2e.oracle import plain_client
from faults.figures import request_cuts
from faults.request_trials import Cut, When, site, try_cut, wrong
from servers.seaweed import Seaweed
from servers.stub.script import lose_answer

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(2))
def test_a_transfer_that_is_killed_at_a_request_recovers(
    s3_server: Seaweed, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    figure = request_cuts.measure_on(s3_server, tmp_path, amount=7, seed=seed)
    assert figure.failures == 0, capsys.readouterr().out
    assert figure.trials == 7
    assert figure.facts["cut points in all"] > 100


@pytest.mark.parametrize("when", When)
def test_an_upload_whose_id_died_with_the_worker_is_ended(s3_server: Seaweed, tmp_path: Path, when: When) -> None:
    with site(s3_server, tmp_path) as lab_site:
        assert try_cut(lab_site, Cut("obstore", f"CreateMultipartUpload {KEY}", 1, when), "0") == ""


def test_an_upload_whose_id_was_lost_is_ended_and_no_other(s3_server: Seaweed, tmp_path: Path) -> None:
    with site(s3_server, tmp_path) as lab_site, lab_site.lab("lost", engine="obstore") as lab:
        client = plain_client(lab.env)
        kept = set()
        for key, parts in ((KEY, 1), (f"{KEY}2", 0)):
            upload = client.create_multipart_upload(Bucket=lab.bucket, Key=key)["UploadId"]
            for number in range(parts):
                client.upload_part(Bucket=lab.bucket, Key=key, UploadId=upload, PartNumber=number + 1, Body=b"theirs")
            kept.add((key, upload))
        lab_site.front.script.plan("CreateMultipartUpload", lose_answer(), key=KEY)
        lab.transfer(**through(lab_site.front))
        left = client.list_multipart_uploads(Bucket=lab.bucket).get("Uploads", [])
        assert {(upload["Key"], upload["UploadId"]) for upload in left} == kept
        for key, upload in kept:
            client.abort_multipart_upload(Bucket=lab.bucket, Key=key, UploadId=upload)
        assert wrong(lab) == ""


def test_a_request_that_never_comes_is_no_trial(s3_server: Seaweed, tmp_path: Path) -> None:
    with site(s3_server, tmp_path) as lab_site:
        assert "never came" in try_cut(lab_site, Cut("obstore", "PutObject nowhere", 1, When.BEFORE), "0")


def test_the_oracle_sees_what_is_wrong(s3_server: Seaweed, tmp_path: Path) -> None:
    with site(s3_server, tmp_path) as lab_site, lab_site.lab("planted", engine="obstore") as lab:
        assert "not done" in wrong(lab)
        lab.transfer(**IN_PARTS)
        assert wrong(lab) == ""
        client = plain_client(lab.env)
        place = {"Bucket": lab.bucket, "Key": f"{PREFIX}/objects.csv"}
        upload = client.create_multipart_upload(**place)["UploadId"]
        assert "do not agree" in wrong(lab), "a parked upload"
        client.abort_multipart_upload(**place, UploadId=upload)
        client.put_object(Bucket=lab.bucket, Key=f"{PREFIX}.bulkhaul-probe-0", Body=b"x")
        assert "left in the bucket" in wrong(lab)
        client.put_object(**place, Body=b"other bytes")
        assert "do not agree" in wrong(lab), "an object with other bytes"
