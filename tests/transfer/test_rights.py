"""IAM policies: as narrow as the targets, whatever signs are in their names; and the tests' own judge of requests."""

from __future__ import annotations

import pytest

from bulkhaul.s3.location import S3Location
from bulkhaul.transfer.rights import Role, Scope, least_scopes, policy_document
from servers.iam import PolicyJudge, asked_by, matches
from servers.stub.message import Request


def locations(*texts: str) -> list[S3Location]:
    return [S3Location.parse(text) for text in texts]


def request(method: str, path: str, query: str = "") -> Request:
    return Request(method, path, query, {}, b"")


def allows(judge: PolicyJudge, method: str, path: str, query: str = "") -> bool:
    return judge(request(method, path, query))


@pytest.mark.parametrize(
    ("targets", "scope"),
    [
        (["s3://bucket/a/J1"], ("s3://bucket/a/J1", True, False)),
        (["s3://bucket/a/J1", "s3://bucket/a/J1"], ("s3://bucket/a/J1", True, False)),
        (["s3://bucket/a/J1", "s3://bucket/a/J10"], ("s3://bucket/a", False, True)),
        (["s3://bucket/a/J1/x", "s3://bucket/a/J2/x", "s3://bucket/a"], ("s3://bucket/a", True, True)),
        (["s3://bucket/a", "s3://bucket/a/J1"], ("s3://bucket/a", True, True)),
        (["s3://bucket/a", "s3://bucket/a", "s3://bucket/b"], ("s3://bucket", False, True)),
    ],
)
def test_the_scope_is_the_narrowest_folder_around_all_targets(
    targets: list[str], scope: tuple[str, bool, bool]
) -> None:
    (found,) = least_scopes(locations(*targets))
    assert (str(found.location), found.itself, found.below) == scope


def test_each_bucket_has_statements_of_its_own_names() -> None:
    scopes = least_scopes(locations("s3://one/a", "s3://two/b"))
    statements = policy_document(Role.WORKER, scopes)["Statement"]
    assert isinstance(statements, list)
    names = [statement["Sid"] for statement in statements]
    assert len(names) == len(set(names)) == 14
    judge = PolicyJudge(policy_document(Role.WORKER, scopes))
    assert allows(judge, "GET", "/one", "list-type=2&prefix=a%2F")
    assert not allows(judge, "GET", "/one", "list-type=2&prefix=b%2F")


def test_a_worker_may_do_nothing_beside_its_prefix() -> None:
    judge = PolicyJudge(policy_document(Role.WORKER, least_scopes(locations("s3://bucket/a/J1"))))
    for method, path, query in [
        ("PUT", "/bucket/a/J1/file", ""),
        ("PUT", "/bucket/a/J1.manifest.jsonl.gz", ""),
        ("DELETE", "/bucket/a/J1/.bulkhaul-probe-0123/b", ""),
        ("GET", "/bucket", "list-type=2&prefix=a%2FJ1%2F"),
        ("GET", "/bucket", "list-type=2&prefix=a%2FJ1.manifest.jsonl.gz"),
    ]:
        assert allows(judge, method, path, query), (method, path, query)
    for method, path, query in [
        ("PUT", "/bucket/a/J10/file", ""),
        ("PUT", "/bucket/a/J1", ""),
        ("PUT", "/other/a/J1/file", ""),
        ("DELETE", "/bucket/a/J1/file", ""),
        ("DELETE", "/bucket/a/J1/deep/.bulkhaul-probe-0123-a", ""),
        ("GET", "/bucket", "list-type=2&prefix=a%2F"),
        ("GET", "/bucket", "list-type=2"),
        ("POST", "/bucket", "delete="),
        ("PUT", "/bucket", ""),
    ]:
        assert not allows(judge, method, path, query), (method, path, query)


def test_an_auditor_may_write_and_remove_nothing() -> None:
    judge = PolicyJudge(policy_document(Role.AUDITOR, [Scope(S3Location.parse("s3://bucket/a"))]))
    assert allows(judge, "HEAD", "/bucket/a/file")
    for method, query in [("PUT", ""), ("DELETE", ""), ("POST", "uploads="), ("DELETE", "uploadId=1")]:
        assert not allows(judge, method, "/bucket/a/file", query)


def test_signs_that_iam_reads_as_wildcards_stand_for_themselves() -> None:
    judge = PolicyJudge(policy_document(Role.WORKER, least_scopes([S3Location("bucket", "a*?$")])))
    assert allows(judge, "PUT", "/bucket/a%2A%3F%24/file")
    assert allows(judge, "GET", "/bucket", "list-type=2&prefix=a%2A%3F%24%2F")
    assert not allows(judge, "PUT", "/bucket/abc%24/file")


def test_a_bucket_as_the_target_has_no_condition_and_no_manifest_beside() -> None:
    judge = PolicyJudge(policy_document(Role.WORKER, [Scope(S3Location("bucket"))]))
    assert allows(judge, "GET", "/bucket", "list-type=2&prefix=")
    assert allows(judge, "DELETE", "/bucket/.bulkhaul-probe-1-a")
    assert not allows(judge, "DELETE", "/bucket/file")
    assert not any("manifest" in resource for *_, resource in judge.granted)


@pytest.mark.parametrize(
    ("region", "partition"), [(None, "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_the_region_chooses_the_partition(region: str | None, partition: str) -> None:
    document = policy_document(Role.AUDITOR, [Scope(S3Location("bucket", "a"))], region=region)
    assert f"'arn:{partition}:s3:::bucket/a/*'" in str(document)


def test_the_judge_knows_a_denial_from_a_grant() -> None:
    assert matches("a*c", "abbc")
    assert not matches("a*c", "abbcd")
    assert matches("a${*}c", "a*c")
    assert not matches("a${*}c", "abc")
    assert asked_by(request("POST", "/bucket", "delete=")).action == "unknown:DeleteObjects"
    judge = PolicyJudge({"Version": "2012-10-17", "Statement": []})
    assert not allows(judge, "GET", "/bucket", "list-type=2&prefix=a")
    assert [asked.action for asked in judge.denied] == ["s3:ListBucket"]
