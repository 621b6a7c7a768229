"""Targets that cannot be used: each step says why in one line, with the right exit code, and no job is touched."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.bad_input import (
    CHECK,
    SUMMARISE,
    TRANSFER,
    VERIFY,
    all_refused,
    assert_no_secret,
    complaints,
    records,
    the_complaint,
)
from e2e.lab import ENGINES, Lab, job_name, make_lab, plate_key
from e2e.oracle import assert_plates_arrived, plain_client, remote_keys
from e2e.turnstile import amid_files, front_env, granted_env, worker_held
from servers.ports import free_ports
from servers.seaweed import ADMIN, NO_LIST, NO_WRITE, Keys, Seaweed
from servers.stub.message import Answer, Request, error
from servers.stub_s3 import StubS3
from servers.tls import self_signed

pytestmark = pytest.mark.s3

NOBODYS_SECRET = "a-secret-that-belongs-to-nobody"


@dataclass(frozen=True, slots=True)
class Site:
    """A joblist that is to be moved, one that has been moved, and what a case needs to spoil their surroundings."""

    todo: Lab
    done: Lab
    server: Seaweed
    folder: Path


@pytest.fixture(scope="module")
def site(s3_server: Seaweed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all cases: none of them may change anything of it."""
    folder = tmp_path_factory.mktemp("site")
    bucket = f"test-{uuid.uuid4().hex[:16]}"
    s3_server.client().create_bucket(Bucket=bucket)
    todo, done = (make_lab(folder / name, bucket=bucket, env=s3_server.environment(ADMIN)) for name in ("todo", "done"))
    for lab in (todo, done):
        lab.folder.mkdir()
        lab.fill()
    done.transfer()
    yield Site(todo, done, s3_server, folder)
    for lab in (todo, done):
        lab.close()
    s3_server.client().delete_bucket(Bucket=bucket)


Spoil = Callable[[Site, ExitStack], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Case:
    """How the environment is spoilt, the exit code, and words that the one line must have."""

    spoil: Spoil
    code: int
    words: tuple[str, ...]


def _set(**env: str) -> Spoil:
    return lambda _site, _stack: env


def _keys(keys: Keys) -> Spoil:
    return lambda site, _stack: dict(keys.environment(site.server.url))


def _closed_port(_site: Site, _stack: ExitStack) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{free_ports(1)[0]}"}


def _https_to_http(site: Site, _stack: ExitStack) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL_S3": site.server.url.replace("http:", "https:")}


def _self_signed(site: Site, stack: ExitStack) -> dict[str, str]:
    stub = stack.enter_context(StubS3(tls=self_signed(site.folder)))
    return front_env(stub)


def _ended_token(_site: Site, stack: ExitStack) -> dict[str, str]:
    stub = stack.enter_context(StubS3())
    return stub.environment(stub.tokens.issue(0.0))


def _no_grant(_site: Site, stack: ExitStack) -> dict[str, str]:
    stub = stack.enter_context(StubS3())
    stub.grants.targets.append("s3://another-bucket/*")
    return granted_env(stub)


def _moved(_request: Request, _serve: Callable[[], Answer]) -> Answer:
    answer = error(301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint.")
    return Answer(301, answer.body, {**answer.headers, "x-amz-bucket-region": "eu-central-1"})


def _other_region(_site: Site, stack: ExitStack) -> dict[str, str]:
    stub = stack.enter_context(StubS3())
    stub.script.plan("*", _moved, times=10_000)
    return front_env(stub)


def _no_bucket(_site: Site, stack: ExitStack) -> dict[str, str]:
    stub = stack.enter_context(StubS3())
    return front_env(stub)


CASES = {
    "no credentials": Case(
        _set(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""), 77, ("no credentials", "set AWS_PROFILE")
    ),
    "half of the credentials": Case(_set(AWS_SECRET_ACCESS_KEY=""), 77, ("missing: AWS_SECRET_ACCESS_KEY",)),
    "wrong secret": Case(
        _set(AWS_SECRET_ACCESS_KEY=NOBODYS_SECRET), 77, ("the secret key does not belong", "AWS_SECRET_ACCESS_KEY")
    ),
    "unknown key": Case(_set(AWS_ACCESS_KEY_ID="NOBODYSKEY000000"), 77, ("the access key is unknown",)),
    "ended token": Case(_ended_token, 77, ("have ended", "log in again")),
    "no matching grant": Case(_no_grant, 77, ("123456789012", "no matching grant", "for a READWRITE grant")),
    "no right to list": Case(_keys(NO_LIST), 77, ("S3 refuses the access", "s3:ListBucket")),
    "no right to write": Case(_keys(NO_WRITE), 77, ("S3 refuses the access", "s3:PutObject")),
    "no bucket": Case(_no_bucket, 69, ("the bucket does not exist", "check the target")),
    "other region": Case(_other_region, 69, ("another region", "eu-central-1", "AWS_REGION")),
    "closed port": Case(_closed_port, 69, ("no connection", "Connection refused", "check the endpoint")),
    "unknown host": Case(
        _set(AWS_ENDPOINT_URL_S3="http://s3.nowhere.invalid"), 69, ("s3.nowhere.invalid", "check the endpoint")
    ),
    "self-signed certificate": Case(_self_signed, 69, ("no secure connection", "AWS_CA_BUNDLE")),
    "https to a plain server": Case(_https_to_http, 69, ("no secure connection", "check the endpoint")),
    "no such CA bundle": Case(_set(AWS_CA_BUNDLE="/nowhere/ca.pem"), 2, ("/nowhere/ca.pem", "AWS_CA_BUNDLE")),
    "endpoint that is no URL": Case(_set(AWS_ENDPOINT_URL_S3="localhost:9000"), 2, ("localhost:9000", "https://")),
    "no such profile": Case(_set(AWS_PROFILE="nosuch"), 2, ("nosuch", "AWS_PROFILE")),
    "role that is not named": Case(
        _set(BULKHAUL_CREDENTIALS="assume-role"), 2, ("role_arn", "not set", "bulkhaul.toml")
    ),
    "command that fails": Case(
        _set(BULKHAUL_CREDENTIALS="command", BULKHAUL_CREDENTIAL_COMMAND="false"), 77, ("exit code 1", "run it by hand")
    ),
}


EVERY_STEP = {"wrong secret", "no matching grant", "no right to list", "closed port"}  # all steps begin alike


@pytest.mark.parametrize("name", CASES)
def test_a_fault_of_the_target_is_one_line_of_each_step_and_touches_no_job(site: Site, name: str) -> None:
    case = CASES[name]
    runs: list[tuple[Lab, tuple[str, ...]]] = [(site.todo, (TRANSFER, "-v", "3"))]
    if name in EVERY_STEP:
        runs += [(site.todo, (CHECK,)), (site.todo, (TRANSFER, "--dry-run")), (site.done, (VERIFY,))]
    with ExitStack() as stack:
        env = case.spoil(site, stack)
        lines = all_refused(runs, expect=case.code, env=env)
    assert [line for line in lines if not all(word in line for word in case.words)] == []
    assert records(site.todo.joblist) == []
    assert set(site.todo.statuses().values()) == {"todo"}


def test_with_json_a_refusal_is_a_document(site: Site) -> None:
    commands = [(site.todo, CHECK), (site.todo, TRANSFER), (site.done, VERIFY)]
    started = [
        lab.start(script, "-i", lab.joblist, "--json", AWS_SECRET_ACCESS_KEY="wrong") for lab, script in commands
    ]
    for process in started:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 77
        document = json.loads(said)
        assert document["exit_code"] == 77
        assert "the secret key does not belong" in json.dumps(document)


def test_without_any_target_no_step_begins(lab: Lab) -> None:
    lab.fill()
    for path in lab.joblist.glob("*.txt"):
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("target:")))
    before = lab.statuses()
    for line in all_refused([(lab, (TRANSFER,)), (lab, (TRANSFER, "--dry-run"))], expect=2, env={}):
        assert line.startswith("target: not set; add `target = ...` to bulkhaul.toml")
    # The check goes through all jobs, and names in one line those that lack it.
    line = the_complaint(lab.run(CHECK, "-i", lab.joblist, expect=2))
    assert line.partition(":")[0] == ", ".join(f"{name}.txt" for name in before)
    assert lab.statuses() == before
    assert records(lab.joblist) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_denial_of_one_prefix_is_the_error_of_that_job_alone(lab: Lab, front: StubS3, engine: str) -> None:
    jobs = [job_name(plate) for plate in lab.fill(plates=3)]
    shut = [True]

    def deny(request: Request, serve: Callable[[], Answer]) -> Answer:
        below = request.key.startswith(plate_key(batch="J1", plate="A0002"))
        return error(403, "AccessDenied", "Access Denied") if below and shut[0] else serve()

    front.script.plan("PutObject", deny, times=10_000)
    env = front_env(front)
    said = lab.transfer("--engine", engine, expect=3, **env)
    assert jobs[1] in the_complaint(said)
    assert "S3 refuses the access" in the_complaint(said)
    assert lab.statuses() == {jobs[0]: "success", jobs[1]: "error", jobs[2]: "success"}
    assert "S3 refuses the access" in lab.run(SUMMARISE, "-i", lab.joblist, "-v", "2")
    assert_no_secret(lab, said, env)

    shut[0] = False
    lab.retry()
    lab.transfer("--engine", engine, expect=0, **env)
    assert_plates_arrived(lab, "A0001", "A0002", "A0003")


def test_a_dataset_without_a_grant_is_the_error_of_that_job_alone_and_no_token_is_told(lab: Lab, front: StubS3) -> None:
    jobs = [job_name(plate) for plate in lab.fill(plates=3)]
    front.grants.targets += [
        f"s3://{lab.bucket}/{plate_key(batch='J1', plate=plate)}/*" for plate in ("A0002", "A0003")
    ]
    said = lab.transfer("-v", "3", expect=3, **granted_env(front))
    assert jobs[0] in the_complaint(said)
    assert "no matching grant" in the_complaint(said)
    assert lab.statuses() == {jobs[0]: "error", jobs[1]: "success", jobs[2]: "success"}
    assert front.tokens.issued >= 3
    secrets = [f"stub-{kind}-{number + 1}" for kind in ("secret", "session") for number in range(front.tokens.issued)]
    assert_no_secret(lab, said, also=secrets)
    assert_plates_arrived(lab, "A0002", "A0003")


def test_keys_that_end_in_mid_dataset_give_the_job_back_and_a_new_login_goes_on(lab: Lab, front: StubS3) -> None:
    (plate,) = lab.fill(plates=1, chunks=300)
    login = front.environment(front.tokens.issue(3_600.0))
    with worker_held(lab, amid_files(front, free=120), env=login, expect=77) as stopped:
        front.tokens.end_all()
    assert "log in again" in the_complaint(stopped.said)
    assert lab.statuses() == {job_name(plate): "todo"}
    assert len(remote_keys(plain_client(lab.env), lab.bucket)) > 100
    lab.transfer(expect=0, **front_env(front))
    assert lab.statuses() == {job_name(plate): "success"}
    assert_plates_arrived(lab, "A0001")


def test_a_missing_bucket_of_one_job_does_not_keep_the_others_from_theirs(lab: Lab) -> None:
    jobs = [job_name(plate) for plate in lab.fill()]
    path = lab.joblist / f"{jobs[0]}.txt"
    path.write_text(path.read_text().replace(f"s3://{lab.bucket}/", "s3://no-such-bucket-of-the-tests/"))
    said = lab.transfer(expect=3)
    assert {line.rpartition("; ")[2] for line in complaints(said)} == {"check the target's name and the endpoint"}
    assert lab.statuses() == {jobs[0]: "error", jobs[1]: "success"}
    assert_plates_arrived(lab, "A0002")
