from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkhaul.check.joblist import CheckReport, check_joblist
from bulkhaul.errors import CredentialsError, UsageError
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.s3.client import S3Options
from bulkhaul.s3.connection import Connection, connect
from bulkhaul.s3.credentials import CredentialPool, Grant, Token
from bulkhaul.s3.location import S3Location
from bulkhaul.s3.providers import default_chain
from servers.ports import free_ports
from servers.seaweed import NO_LIST, READER, Seaweed
from servers.stub.script import refuse
from servers.stub_s3 import StubS3
from unprivileged import reachable_folder, run_unprivileged

pytestmark = pytest.mark.slow  # a server a test

BUCKET = "bkt"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubS3]:
    """The stub with one bucket, and this process's environment set to reach it."""
    with StubS3() as server:
        server.store.make_bucket(BUCKET)
        for name, value in server.environment(server.tokens.issue(None)).items():
            monkeypatch.setenv(name, value)
        yield server


def by_default_chain() -> Callable[[S3Location], Connection]:
    options = S3Options(connect_timeout=2.0, read_timeout=10.0)
    pool = CredentialPool(default_chain(options))
    return lambda location: connect(location, options=options, credentials=pool)


def no_target(source: Path) -> str:
    raise UsageError(source, "no layout fits", "set one")


def make_dataset(folder: Path, *files: str) -> Path:
    for file in files or ("zarr.json",):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"12345")
    return folder


@pytest.fixture
def joblist(tmp_path: Path) -> Joblist:
    (tmp_path / "jobs").mkdir()
    return Joblist(tmp_path / "jobs")


def add(joblist: Joblist, name: str, source: Path, target: str = "") -> None:
    joblist.add(name, source=source, target=target or f"s3://{BUCKET}/{name}")


def check(joblist: Joblist, connector: Callable[[S3Location], Connection] | None = None) -> CheckReport:
    return check_joblist(joblist.folder, connect=connector or by_default_chain(), target_of=no_target)


def problems(report: CheckReport) -> list[str]:
    """The findings that count, as `thing: reason`."""
    return [f"{finding.thing}: {finding.reason}" for finding in report.findings if finding.exit_code]


def notices(report: CheckReport) -> list[str]:
    return [f"{finding.thing}: {finding.reason}" for finding in report.findings if not finding.exit_code]


def test_a_sound_joblist_passes_and_says_what_was_looked_at(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a", "c/0", "c/1", "zarr.json"))
    before = joblist.path("a").read_bytes()
    said = []

    report = check_joblist(
        joblist.folder, connect=by_default_chain(), target_of=no_target, say=lambda message: said.append(str(message))
    )

    assert (report.exit_code, report.jobs, report.files, report.bytes) == (0, 1, 3, 15)
    assert said[0] == "💡 Found 1 job file(s)."
    assert "💡 Sources: 3 file(s), 0.0 GB to compare or send." in said
    assert "💡 Writable: s3://bkt (1 job(s))" in said
    assert said[-1] == "✅ Check passed."
    assert joblist.path("a").read_bytes() == before
    assert stub.store.buckets[BUCKET] == {}
    assert stub.store.uploads == {}


def test_jobs_side_by_side_cost_one_probe(tmp_path, joblist, stub):
    add(joblist, "first", make_dataset(tmp_path / "first"), f"s3://{BUCKET}/J1/p0")
    check(joblist)
    for_one = stub.log.counts()["PutObject"]
    stub.log.clear()
    for number in range(1, 20):
        add(joblist, f"p{number}", make_dataset(tmp_path / f"p{number}"), f"s3://{BUCKET}/J1/p{number}")
    add(joblist, "other", make_dataset(tmp_path / "other"), f"s3://{BUCKET}/J2/p0")

    report = check(joblist)

    assert report.exit_code == 0
    assert 0 < stub.log.counts()["PutObject"] == 2 * for_one


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"todo\n\x00\x01\n---\n", "binary", id="binary"),
        pytest.param(b"todo\n", "cut off", id="truncated"),
        pytest.param(b"finished\n/data/x\n---\n", "no status", id="unknown status"),
    ],
)
def test_a_damaged_job_file_is_named_with_the_reason(tmp_path, joblist, stub, content, reason):
    (joblist.folder / "bad.txt").write_bytes(content)
    add(joblist, "good", make_dataset(tmp_path / "good"))

    report = check(joblist)

    (problem,) = problems(report)
    assert problem.startswith("bad.txt: ")
    assert reason in problem
    assert report.exit_code == 65
    assert (joblist.folder / "bad.txt").read_bytes() == content


def test_old_job_files_take_their_target_from_the_layout_or_are_named(tmp_path, joblist, stub):
    source = make_dataset(tmp_path / "a")
    (joblist.folder / "old.txt").write_text(f"todo\n{source}\n---\n")

    assert problems(check(joblist)) == [f"old.txt: no usable target: {source}: no layout fits"]
    found = check_joblist(joblist.folder, connect=by_default_chain(), target_of=lambda _: f"s3://{BUCKET}/from-layout")
    assert found.exit_code == 0


def test_a_missing_target_is_one_finding_however_many_jobs_lack_it(tmp_path, joblist):
    def no_setting(_source):
        raise UsageError("target", "not set", "add it to bulkhaul.toml")

    for number in range(5):
        joblist.add(f"j{number}", source=make_dataset(tmp_path / f"j{number}"))
    report = check_joblist(joblist.folder, connect=by_default_chain(), target_of=no_setting)
    assert problems(report) == ["j0.txt, j1.txt, j2.txt and 2 more: no usable target: target: not set"]
    assert report.exit_code == 2


def test_unproven_jobs_are_told_since_no_worker_claims_them(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"), "s3://bkt/a")
    path = joblist.path("a")
    path.write_text(path.read_text().replace("todo", "done", 1))
    report = check(joblist)
    assert problems(report) == []
    assert any("a.txt: 1 job(s) have a status that no record proves" in notice for notice in notices(report))


def test_a_joblist_without_jobs_is_a_usage_problem(joblist):
    assert check(joblist, lambda _: pytest.fail("nothing to connect to")).exit_code == 2


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("s3://bkt/x", "s3://bkt/x", "they have the same target"),
        ("s3://bkt/x", "s3://bkt/x/y", "s3://bkt/x/y lies within the other's target"),
        ("s3://bkt/x", "s3://bkt/x-y", None),
        ("s3://bkt/x", "s3://bkt2/x", None),
    ],
)
def test_jobs_whose_targets_meet_are_named_together(tmp_path, joblist, stub, first, second, reason):
    stub.store.make_bucket("bkt2")
    add(joblist, "a", make_dataset(tmp_path / "a"), first)
    add(joblist, "b", make_dataset(tmp_path / "b"), second)

    report = check(joblist)

    if reason is None:
        assert problems(report) == []
    else:
        assert problems(report) == [f"a.txt and b.txt: {reason}: {first}"]
        assert report.exit_code == 65


def test_a_source_that_vanished_is_no_folder_or_holds_nothing_is_named(tmp_path, joblist, stub):
    (tmp_path / "file").touch()
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    for name in ("gone", "file", "empty"):
        add(joblist, name, tmp_path / name)

    report = check(joblist)

    assert problems(report) == [
        f"{tmp_path / 'empty'}: it holds no file",
        f"file.txt: {tmp_path / 'file'}: the dataset cannot be read: Not a directory",
        f"gone.txt: {tmp_path / 'gone'}: the dataset cannot be read: No such file or directory",
    ]
    assert report.exit_code == 66


def test_names_that_the_target_refuses_are_counted_and_the_first_ones_named(tmp_path, joblist, stub):
    odd = [b"back\\slash", b"bell\x07", b"new\nline", b"not-utf8-\xff", b"deep/" + b"/".join([b"d" * 255] * 4)]
    source = make_dataset(tmp_path / "a", "fine", "blank and 'quote\"", *(os.fsdecode(name) for name in odd))
    add(joblist, "a", source)

    report = check(joblist)

    (problem,) = problems(report)
    assert problem.startswith(f"{source}: 5 names cannot be keys: 'back\\\\slash' (the name has a backslash), ")
    assert problem.endswith(" and 2 more")
    assert report.exit_code == 66


def test_a_key_is_judged_with_its_prefix(tmp_path, joblist, stub):
    name = "n" * 255
    add(joblist, "fits", make_dataset(tmp_path / "fits", name), f"s3://{BUCKET}/{'p' * 768}")
    add(joblist, "toolong", make_dataset(tmp_path / "toolong", name), f"s3://{BUCKET}/{'q' * 769}")

    (problem,) = problems(check(joblist))

    assert problem.startswith(f"{tmp_path / 'toolong'}: 1 names cannot be keys")
    assert "the key has 1025 bytes" in problem


def test_what_is_not_sent_by_policy_is_a_notice(tmp_path, joblist, stub):
    source = make_dataset(tmp_path / "a")
    (source / "link").symlink_to("zarr.json")
    os.mkfifo(source / "fifo")
    add(joblist, "a", source)

    report = check(joblist)

    assert report.exit_code == 0
    assert f"{source}: 2 entries are not sent: 'fifo' (FIFO), 'link' (symlink)" in notices(report)


def test_jobs_that_are_done_need_no_source_any_more(tmp_path, joblist, stub):
    add(joblist, "gone", tmp_path / "gone")
    assert check(joblist).exit_code == 66

    with joblist.session(this_owner()) as session:
        claim = session.claim_next(lambda: None)
        assert claim is not None
        claim.end(Status.SUCCESS, "done", facts={})

    assert check(joblist).exit_code == 0


def test_temporary_files_of_killed_writers_are_told(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"))
    leftover = joblist.folder / ".a.txt.0123456789ab.tmp"
    leftover.touch()

    report = check(joblist)

    assert report.exit_code == 0
    assert f"{joblist.folder}: 1 temporary file(s) of killed writers: {leftover}" in notices(report)


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


def test_no_credentials_are_told_once_and_beat_lesser_problems(tmp_path, joblist, stub, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    add(joblist, "gone", tmp_path / "gone", f"s3://{BUCKET}/J0/p")
    for batch in ("J1", "J2", "J3"):
        add(joblist, batch, make_dataset(tmp_path / batch), f"s3://{BUCKET}/{batch}/p")

    report = check(joblist)

    assert [problem for problem in problems(report) if "no credentials" in problem] == problems(report)[1:]
    assert len(problems(report)) == 2
    assert report.exit_code == 77


def test_one_prefix_without_a_grant_does_not_hide_the_others(tmp_path, joblist, stub):
    for batch in ("J1", "J2", "J3"):
        add(joblist, batch, make_dataset(tmp_path / batch), f"s3://{BUCKET}/{batch}/p")
    chain = default_chain(S3Options())

    def provide(location: S3Location) -> Grant:
        if location.prefix.startswith("J2"):
            raise CredentialsError(location, "no matching grant", "ask for one")
        return Grant(chain(location).token, covers=location)

    pool = CredentialPool(provide)
    report = check(joblist, lambda location: connect(location, options=S3Options(), credentials=pool))

    assert problems(report) == ["s3://bkt/J2/p: no matching grant"]
    assert {entry.key.split("/")[0] for entry in stub.log.entries if entry.operation == "PutObject"} == {"J1", "J3"}


def connector_with_token(stub: StubS3, life: float, *, renewable: bool) -> Callable[[S3Location], Connection]:
    issued = stub.tokens.issue(life)
    assert issued.ends_at is not None
    end = datetime.fromtimestamp(issued.ends_at, UTC)
    token = Token(issued.access_key, issued.secret_key, issued.session_token, end)
    pool = CredentialPool(lambda _: Grant(token, renewable=renewable))
    return lambda location: connect(location, options=S3Options(), credentials=pool)


def test_fixed_keys_that_end_within_a_transfer_are_told(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"))

    report = check(joblist, connector_with_token(stub, 3600, renewable=False))

    assert report.exit_code == 0
    assert any("the credentials are fixed and end in 59 minutes" in notice for notice in notices(report))


@pytest.mark.parametrize(("life", "renewable"), [(3600, True), (13 * 3600, False)])
def test_keys_that_last_or_are_renewed_are_fine(tmp_path, joblist, stub, life, renewable):
    add(joblist, "a", make_dataset(tmp_path / "a"))

    report = check(joblist, connector_with_token(stub, life, renewable=renewable))

    assert not any("credentials" in notice for notice in notices(report))
    assert report.exit_code == 0


def test_ended_keys_are_a_problem(tmp_path, joblist, stub):
    add(joblist, "a", make_dataset(tmp_path / "a"))

    report = check(joblist, connector_with_token(stub, -60, renewable=False))

    (problem,) = problems(report)
    assert "ended at" in problem
    assert report.exit_code == 77


def test_a_wrong_secret_is_a_problem_and_the_secret_is_not_told(tmp_path, joblist, stub, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "top-secret-value")
    stub.script.plan("*", refuse(403, "SignatureDoesNotMatch"), times=1000)
    add(joblist, "a", make_dataset(tmp_path / "a"))

    report = check(joblist)

    assert report.exit_code == 77
    assert "top-secret-value" not in str(report)


@pytest.mark.s3
def test_a_sound_joblist_passes_on_a_real_server_and_leaves_nothing_there(
    tmp_path, joblist, s3_server: Seaweed, bucket, use_s3
):
    add(joblist, "a", make_dataset(tmp_path / "a"), f"s3://{bucket}/J1/a")

    report = check(joblist)

    assert report.exit_code == 0
    client = s3_server.client()
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@pytest.mark.s3
@pytest.mark.parametrize("keys", [READER, NO_LIST], ids=["no right to write", "no right to list"])
def test_a_right_that_a_real_server_denies_is_a_problem(
    tmp_path, joblist, s3_server: Seaweed, bucket, monkeypatch, keys
):
    for name, value in s3_server.environment(keys).items():
        monkeypatch.setenv(name, value)
    add(joblist, "a", make_dataset(tmp_path / "a"), f"s3://{bucket}/J1/a")

    report = check(joblist)

    assert len(problems(report)) == 1
    assert report.exit_code == 77


_CHECK = """
import sys
from pathlib import Path
from bulkhaul.check.findings import Target
from bulkhaul.check.sources import SourceSize, check_sources
from bulkhaul.messages import silent
from bulkhaul.s3.location import S3Location

source = Path(sys.argv[1])
target = Target("a", source, S3Location("bkt", "a"), done=False)
for finding in check_sources([target], SourceSize(), say=silent):
    print(finding.exit_code, finding.message)
"""


def test_unreadable_files_and_folders_of_a_source_are_a_problem():
    with reachable_folder() as folder:
        source = make_dataset(folder / "a", "closed/inner", "locked", "open")
        (source / "locked").chmod(0)
        (source / "closed").chmod(0)

        done = run_unprivileged(_CHECK, source)

    assert done.stderr == ""
    closed, locked = "'closed' (unreadable: Permission denied)", "'locked' (no right to read it)"
    assert done.stdout.splitlines() == [
        f"66 ❌ {source}: 2 entries cannot be read: {closed}, {locked}; "
        "make them readable, or move them out of the dataset"
    ]
