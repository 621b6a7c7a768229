"""The printed IAM policies suffice for all that workers and auditors do, and grant nothing that they never use."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from e2e.accounts import JOB, PREFIX, assert_books, job_text, plate
from e2e.lab import Lab
from e2e.large import PART, begin, of_the_file, through
from e2e.oracle import plain_client
from e2e.turnstile import Turnstile, is_probe
from servers.iam import PolicyJudge
from servers.stub_s3 import StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slow]

PARTS = 6
FOREIGN = "foreign.bin"
Document = Mapping[str, Any]


def printed_policy(lab: Lab, role: str, *arguments: object) -> Document:
    command = [sys.executable, "-m", "bulkhaul", "policy", "--role", role, "-i", lab.joblist, *arguments]
    done = subprocess.run(
        [str(word) for word in command], cwd=lab.folder, env=dict(lab.env), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    document: Document = json.loads(done.stdout)
    return document


def without(document: Document, beginning: str) -> Document:
    """The policy less the statements whose names begin so."""
    kept = [statement for statement in document["Statement"] if not statement["Sid"].startswith(beginning)]
    assert len(kept) < len(document["Statement"])
    return {**document, "Statement": kept}


def put_in_parts(lab: Lab, name: str) -> None:
    """Bring a file under its key as another tool does, so that neither its ETag nor a manifest tells its content."""
    client, key = plain_client(lab.env), {"Bucket": lab.bucket, "Key": f"{PREFIX}/{name}"}
    upload = client.create_multipart_upload(**key)["UploadId"]
    body = (plate(lab) / name).read_bytes()
    part = client.upload_part(**key, UploadId=upload, PartNumber=1, Body=body)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(**key, UploadId=upload, MultipartUpload=parts)


def kill_amid_parts(lab: Lab, front: StubS3) -> None:
    held = Turnstile(front, "UploadPart", fits=of_the_file, free=2)
    worker = lab.worker(**through(front))
    held.wait()
    held.kill(worker)


def kill_amid_the_probe(lab: Lab, front: StubS3) -> None:
    held = Turnstile(front, "CompleteMultipartUpload", fits=lambda request: is_probe(request.key))
    worker = lab.worker(**through(front))
    held.wait()
    held.kill(worker)


def lead_a_workers_life(lab: Lab, front: StubS3) -> None:
    """Checked, killed in its probe and in a large file, taken over, repeated, changed, compared by content."""
    lab.run("02_check_joblist.py", "-i", lab.joblist, **through(front))
    kill_amid_the_probe(lab, front)
    kill_amid_parts(lab, front)
    lab.transfer(**through(front))
    (plate(lab) / "added.csv").write_text("added\n")
    (plate(lab) / "objects.csv").unlink()
    lab.type_todo()
    lab.transfer("--dry-run", **through(front))
    lab.transfer("--sync-level", "checksum", **through(front))


@pytest.fixture
def gallery(lab: Lab, front: StubS3) -> StubS3:
    """The plate with some 600 chunks (as many as take sender processes), a large file, and one that S3 has already."""
    begin(lab, PARTS * PART - 1)
    (plate(lab) / FOREIGN).write_bytes(b"foreign" * 1000)
    for number in range(600):
        (plate(lab) / f"{number}.txt").write_text(str(number))
    put_in_parts(lab, FOREIGN)
    return front


def test_a_workers_policy_is_enough_and_no_grant_of_it_goes_unused(lab: Lab, gallery: StubS3) -> None:
    gallery.allows = judge = PolicyJudge(printed_policy(lab, "worker"))
    lead_a_workers_life(lab, gallery)
    assert judge.denied == []
    assert {(sid, action) for sid, action, _ in judge.granted - judge.used} <= {(s, a) for s, a, _ in judge.used}
    assert {resource for *_, resource in judge.granted} == {resource for *_, resource in judge.used}
    assert "removal is refused" not in job_text(lab)


@pytest.mark.parametrize("engine", ["obstore"])
def test_an_auditors_policy_is_enough_for_both_levels_and_lets_nothing_be_written(lab: Lab, gallery: StubS3) -> None:
    lab.transfer("--sync-level", "size", **through(gallery))
    document = printed_policy(lab, "auditor")
    gallery.allows = judge = PolicyJudge(document)
    lab.run("05_verify_transfer.py", "-i", lab.joblist, **through(gallery))
    assert {action for _, action, _ in judge.used} == {"s3:ListBucket"}
    lab.run("05_verify_transfer.py", "-i", lab.joblist, "--sync-level", "checksum", **through(gallery))
    assert judge.denied == []
    assert judge.used == judge.granted
    lab.type_todo()
    assert "s3:PutObject" in lab.transfer(expect=77, **through(gallery))


@pytest.mark.parametrize("engine", ["obstore"])
def test_without_the_optional_rights_all_arrives_and_each_lack_is_told(lab: Lab, gallery: StubS3) -> None:
    gallery.allows = judge = PolicyJudge(without(printed_policy(lab, "worker"), "Optional"))
    kill_amid_parts(lab, gallery)
    with (plate(lab) / "objects.csv").open("ab") as file:
        file.write(b"more")  # so that the parts are of no use any more
    said = lab.transfer(**through(gallery))
    assert {asked.action for asked in judge.denied} == {
        *("s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload", "s3:DeleteObject"),
        "s3:ListBucketMultipartUploads",
    }
    assert judge.used == judge.granted
    for words in ("HEAD is refused", "ListParts is refused", "removal is refused", ".bulkhaul-probe-"):
        assert words in said
    assert lab.statuses() == {JOB: "success"}
    assert "is left behind" in job_text(lab)
    gallery.allows = lambda _request: True
    for key in plain_client(lab.env).list_objects_v2(Bucket=lab.bucket, Prefix=f"{PREFIX}/.bulkhaul")["Contents"]:
        plain_client(lab.env).delete_object(Bucket=lab.bucket, Key=key["Key"])
    for upload in plain_client(lab.env).list_multipart_uploads(Bucket=lab.bucket)["Uploads"]:
        plain_client(lab.env).abort_multipart_upload(Bucket=lab.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    assert_books(lab, {})


@pytest.mark.parametrize(("name", "right"), [("List", "s3:ListBucket"), ("Send", "s3:PutObject")])
@pytest.mark.parametrize("engine", ["obstore"])
def test_without_a_right_that_it_needs_a_worker_names_it_and_touches_no_job(
    lab: Lab, front: StubS3, name: str, right: str
) -> None:
    begin(lab, 10)
    front.allows = PolicyJudge(without(printed_policy(lab, "worker"), name))
    assert right in lab.transfer(expect=77, **through(front))
    assert lab.statuses() == {JOB: "todo"}


@pytest.mark.parametrize("engine", ["obstore"])
def test_a_target_beside_the_joblists_own_is_denied_by_its_policy(lab: Lab, front: StubS3) -> None:
    begin(lab, 10)
    front.allows = judge = PolicyJudge(printed_policy(lab, "worker"))
    path = lab.joblist / f"{JOB}.txt"
    path.write_text(path.read_text().replace(PREFIX, f"{PREFIX}0"))
    lab.transfer(expect=77, **through(front))
    assert judge.denied
    assert judge.used == set()
