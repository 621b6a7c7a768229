"""The check of buckets, rights and leftovers."""

from __future__ import annotations

import pytest

from bulkhaul.s3.location import S3Location
from check.checking import BUCKET, add, by_default_chain, check, make_dataset, notices, problems
from servers.ports import free_ports

pytestmark = pytest.mark.slow  # a server a test


def test_what_earlier_work_left_below_the_targets_is_told_and_nothing_else(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"), f"s3://{BUCKET}/J1/A1")
    client = by_default_chain()(S3Location(BUCKET)).client
    for key in ("J1/A1/big", "J1/A10/not-ours"):
        client.create_multipart_upload(Bucket=BUCKET, Key=key)
    for key in ("J1/A1/.bulkhaul-probe-old", "J1/A1/data", "J1/.bulkhaul-probe-not-ours"):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"x")

    report = check(joblist)

    assert report.exit_code == 0
    assert notices(report)[-2:] == [
        "s3://bkt/J1: 1 unfinished multipart upload(s): 'J1/A1/big'",
        "s3://bkt/J1: 1 object(s) of earlier probes: 'J1/A1/.bulkhaul-probe-old'",
    ]


def test_without_the_right_to_list_uploads_the_check_passes_and_says_so(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"))
    stub.denied.add("ListMultipartUploads")

    report = check(joblist)

    assert report.exit_code == 0
    assert any("leftovers cannot be listed" in notice for notice in notices(report))


@pytest.mark.parametrize(
    ("operation", "code"), [("PutObject", 77), ("ListObjectsV2", 77)], ids=["no right to write", "no right to list"]
)
def test_a_denied_right_is_a_problem_of_each_prefix_that_lacks_it(tmp_path, joblist, stub, operation, code):
    stub.denied.add(operation)
    add(joblist, "a", make_dataset(tmp_path / "a"), f"s3://{BUCKET}/J1/a")
    add(joblist, "b", make_dataset(tmp_path / "b"), f"s3://{BUCKET}/J2/b")

    report = check(joblist)

    assert [problem.split(":")[1] for problem in problems(report)] == ["//bkt/J1/a", "//bkt/J2/b"]
    assert report.exit_code == code


def test_a_missing_bucket_is_told_once(tmp_path, joblist, stub):
    for batch in ("J1", "J2", "J3"):
        add(joblist, batch, make_dataset(tmp_path / batch), f"s3://missing-bucket/{batch}/p")

    report = check(joblist)

    assert len(problems(report)) == 1
    assert "missing-bucket" in problems(report)[0]
    assert {entry.query.get("prefix") for entry in stub.log.entries} == {"J1/p/"}
    assert report.exit_code == 69


@pytest.mark.slow
def test_an_unreachable_endpoint_is_told_once(tmp_path, joblist, stub, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_ports(1)[0]}")
    for batch in ("J1", "J2"):
        add(joblist, batch, make_dataset(tmp_path / batch), f"s3://{BUCKET}/{batch}/p")

    report = check(joblist)

    assert len(problems(report)) == 1
    assert report.exit_code == 69
