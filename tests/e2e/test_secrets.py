"""No secret in anything that a run leaves, says or shows in `ps`: files, logs, S3, command lines of all processes."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from e2e.accounts import JOB, plate
from e2e.lab import Lab, make_lab, write_plate
from e2e.leaks import leaked, leaks_in, leaks_in_bucket, watched_processes
from e2e.oracle import plain_client
from e2e.turnstile import amid_files
from servers.sts import Sts
from servers.stub.tokens import IssuedToken
from servers.stub_s3 import StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slow]

# Of this process alone: the command lines of all processes are looked at, also of those that other tests have started.
SECRET = f"sEcRet/of+the/Worker={uuid.uuid4().hex}"
SESSION = f"sEsSion/token+of//the=Worker/{uuid.uuid4().hex}"
SECRETS = (SECRET, SESSION)
OWN_SECRET = "own-secret-of-the-user"
SBATCH = '#!/bin/bash\nif [[ ${0##*/} == sbatch ]]; then echo "$*" >> "$SBATCH_LOG"; echo 7; fi\n'


@dataclass
class Tenant:
    """Somebody with secret keys, whose places are all below one folder: joblist, home, temporary files, outputs."""

    lab: Lab
    front: StubS3
    token: IssuedToken
    env: dict[str, str] = field(default_factory=dict)

    @property
    def kept(self) -> Path:
        """The folder of what the run may hold: the key's own file is elsewhere."""
        return self.lab.folder

    def run(self, *words: object, expect: int | None = 0, **env: str) -> str:
        command = [sys.executable, "-m", "bulkhaul", *map(str, words)]
        full = {**self.lab.env, **self.env, **env}
        done = subprocess.run(command, cwd=self.lab.folder, env=full, capture_output=True, text=True, timeout=100)
        assert expect in (None, done.returncode), done.stdout + done.stderr
        return self.keep(f"{words[0]}", done.stdout + done.stderr)

    def keep(self, name: str, said: str) -> str:
        """Keep an output beside all else that is searched."""
        place = self.lab.folder / "outputs"
        place.mkdir(exist_ok=True)
        (place / f"{name}-{time.monotonic_ns()}").write_text(said)
        return said

    def transfer(self, expect: int = 0, **env: str) -> str:
        return self.run("transfer", "-i", self.lab.joblist, "-v", 3, expect=expect, **env)

    def leaks(self) -> dict[str, list[str]]:
        client = plain_client(self.lab.env)
        return leaks_in([self.kept], SECRETS) | leaks_in_bucket(client, self.lab.bucket, SECRETS)


@pytest.fixture
def tenant(tmp_path: Path, bucket: str, s3_env: Mapping[str, str], front: StubS3) -> Iterator[Tenant]:
    lab = make_lab(tmp_path / "lab", bucket=bucket, env=s3_env)
    for name in ("home", "tmp", "bin"):
        (lab.folder / name).mkdir(parents=True)
    for name in ("sbatch", "scontrol"):
        (lab.folder / "bin" / name).write_text(SBATCH)
        (lab.folder / "bin" / name).chmod(0o755)
    token = IssuedToken("LEAKTESTKEY00001", SECRET, SESSION, time.time() + 3600)
    front.tokens.admit(token)
    places = {
        "HOME": str(lab.folder / "home"),
        "TMPDIR": str(lab.folder / "tmp"),
        "PATH": f"{lab.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "SBATCH_LOG": str(lab.folder / "sbatch.log"),
    }
    tenant = Tenant(lab, front, token, {**front.environment(token), **places})
    write_plate(plate(lab), chunks=20, seed=1, large=6 << 20)
    tenant.run("extract", "-i", lab.results, "-o", lab.joblist, "--target", lab.target)
    yield tenant
    lab.close()


def broken_library(folder: Path) -> str:
    """A path for Python with an engine that crashes when it is loaded, so that a worker ends with a traceback."""
    package = folder / "broken" / "obstore"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('broken installation')\n")
    return str(package.parent)


def test_a_whole_life_with_keys_of_the_environment_leaves_no_secret_anywhere(tenant: Tenant, tmp_path: Path) -> None:
    lab = tenant.lab
    write_plate(plate(lab), chunks=600, seed=1, large=6 << 20)  # as many as are worth sender processes
    with watched_processes() as watched:
        tenant.run("check", "-i", lab.joblist, "-v", 3)
        for more in ([], ["--dry-run"]):
            tenant.run("submit", "-i", lab.joblist, "-v", 3, *more)
        tenant.transfer(expect=1, PYTHONPATH=broken_library(tmp_path))
        held = amid_files(tenant.front, free=50)
        worker = lab.worker("-v", 3, **tenant.env)
        held.wait()
        worker.kill()
        tenant.keep("killed", worker.communicate(timeout=60)[0])
        held.open(lost=True)
        held.leave()
        (plate(lab) / "back\\slash").write_text("x")
        tenant.transfer(expect=3)
        (plate(lab) / "back\\slash").unlink()
        tenant.run("retry", "-i", lab.joblist)
        tenant.transfer()
        for verb in ("verify", "summarise"):
            tenant.run(verb, "-i", lab.joblist, "-v", 3, "--json")
        tenant.run("config", "--json")
        lab.type_todo()
        tenant.front.tokens.end_all()
        said = tenant.transfer(expect=77)
    assert lab.statuses() == {JOB: "todo"}
    assert "have ended" in said
    traceback = next(path for path in (lab.folder / "outputs").iterdir() if "Traceback" in path.read_text())
    assert "broken installation" in traceback.read_text()
    assert "--export=" in (lab.folder / "sbatch.log").read_text()
    assert tenant.leaks() == {}
    lines = b"\n".join(watched.lines)
    assert leaked(lines, SECRETS) == []
    for seen in (b"bulkhaul\0transfer", b"bulkhaul.transfer.sender_process"):
        assert seen in lines, "the processes in question were not looked at"


def test_a_command_that_prints_keys_leaves_none_even_when_it_fails(tenant: Tenant, tmp_path: Path) -> None:
    printed = {
        "Version": 1,
        "AccessKeyId": tenant.token.access_key,
        "SecretAccessKey": SECRET,
        "SessionToken": SESSION,
        "Expiration": tenant.token.expiration,
    }
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(printed))
    for name in [name for name in tenant.env if name.startswith("AWS_") and ("KEY" in name or "TOKEN" in name)]:
        tenant.env[name] = ""
    settings = {"BULKHAUL_CREDENTIALS": "command", "BULKHAUL_CREDENTIAL_COMMAND": f"cat {keys}"}
    with watched_processes() as watched:
        tenant.transfer(**settings)
        tenant.run("verify", "-i", tenant.lab.joblist, "-v", 3, **settings)
        odd = [{**printed, "Version": 2}, {**printed, "Expiration": SECRET}]
        for broken in (f"not json {SECRET}", *map(json.dumps, odd)):
            keys.write_text(broken)
            tenant.run("check", "-i", tenant.lab.joblist, "-v", 3, expect=None, **settings)
        failing = {**settings, "BULKHAUL_CREDENTIAL_COMMAND": f"sh -c 'cat {keys}; exit 3'"}
        tenant.run("check", "-i", tenant.lab.joblist, "-v", 3, expect=None, **failing)
        masked = {**settings, "BULKHAUL_CREDENTIAL_COMMAND": f"vault --token {SECRET}"}
        assert "***" in tenant.run("config", **masked)
        tenant.run("config", "--json", **masked)
        assert "never handed to SLURM" in tenant.run("submit", "-i", tenant.lab.joblist, expect=2, **masked)
    assert tenant.leaks() == {}
    assert leaked(b"\n".join(watched.lines), SECRETS) == []


def test_access_grants_and_roles_leave_none_of_the_keys_that_they_gave(tenant: Tenant) -> None:
    grants = {"BULKHAUL_CREDENTIALS": "access-grants", "BULKHAUL_ACCESS_GRANTS_ACCOUNT": tenant.front.grants.account}
    tenant.front.grants.targets.append(f"s3://{tenant.lab.bucket}/*")
    given = ("stub-secret-", "stub-session-")
    tenant.transfer(**grants)
    assert tenant.front.tokens.issued >= 2
    tenant.front.grants.targets.clear()
    tenant.run("verify", "-i", tenant.lab.joblist, "-v", 3, expect=None, **grants)
    tenant.lab.type_todo()
    # STS asks nobody's keys here, S3 takes only those that it gives.
    with Sts(tenant.token) as sts, watched_processes() as watched:
        own = {"AWS_ACCESS_KEY_ID": "OWNKEY", "AWS_SECRET_ACCESS_KEY": OWN_SECRET, "AWS_SESSION_TOKEN": ""}
        role = {"BULKHAUL_CREDENTIALS": "assume-role", "BULKHAUL_ROLE_ARN": "arn:aws:iam::123456789012:role/lab"}
        tenant.transfer(AWS_ENDPOINT_URL_STS=sts.url, **own, **role)
        assert sts.taken
    assert tenant.leaks() == {}
    assert leaks_in([tenant.kept], [*given, OWN_SECRET]) == {}
    assert leaked(b"\n".join(watched.lines), [*SECRETS, *given, OWN_SECRET]) == []


PLANTED = [
    SECRET.encode(),
    b"x" + base64.b64encode(b"a:" + SESSION.encode()),
    quote(SECRET, safe="").encode(),
    SESSION.encode().hex().encode(),
    json.dumps(SECRET).replace("/", "\\/").encode(),
]


def test_the_search_finds_a_planted_secret(tenant: Tenant) -> None:
    client = plain_client(tenant.lab.env)
    (tenant.lab.joblist / ".bulkhaul").mkdir(exist_ok=True)
    assert tenant.leaks() == {}
    for planted in PLANTED:
        (tenant.lab.joblist / ".bulkhaul" / "deep").write_bytes(b"words " + planted)
        (tenant.lab.joblist / "a.manifest.jsonl.gz").write_bytes(gzip.compress(planted))
        client.put_object(Bucket=tenant.lab.bucket, Key="planted", Body=gzip.compress(planted))
        client.put_object(Bucket=tenant.lab.bucket, Key="headers", Body=b"", Metadata={"note": planted.decode()})
        places = {Path(place).name for place in tenant.leaks()}
        assert places == {"deep", "a.manifest.jsonl.gz", "planted", "headers"}, planted


def test_the_watch_sees_a_planted_argument() -> None:
    planted = f"planted/{uuid.uuid4().hex}"
    with watched_processes() as watched:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.5)", planted], check=True)
    assert "raw" in leaked(b"\n".join(watched.lines), [planted])
