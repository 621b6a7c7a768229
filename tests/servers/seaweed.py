"""SeaweedFS as a real S3 server: one process in its own folder, on free ports of the loopback, with access keys."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from servers import children
from servers.ports import free_ports


@dataclass(frozen=True, slots=True)
class Keys:
    """One identity of the server and what it may do."""

    name: str
    access_key: str
    secret_key: str
    actions: Sequence[str]

    def environment(self, url: str) -> dict[str, str]:
        """AWS's own variables for a process that uses these keys at `url`, and nothing of this machine's."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


WRITER_BUCKET = "writers-own"

ADMIN = Keys("admin", "ADMINKEY00000000", "admin-secret-of-the-tests", ("Admin", "Read", "Write", "List", "Tagging"))
READER = Keys("reader", "READERKEY0000000", "reader-secret-of-the-tests", ("Read", "List"))
WRITER = Keys(
    "writer",
    "WRITERKEY0000000",
    "writer-secret-of-the-tests",
    tuple(f"{action}:{WRITER_BUCKET}" for action in ("Read", "Write", "List")),
)
NO_LIST = Keys("nolist", "NOLISTKEY0000000", "nolist-secret-of-the-tests", ("Read", "Write"))
NO_WRITE = Keys("nowrite", "NOWRITEKEY000000", "nowrite-secret-of-the-tests", ("Read", "List", "Tagging"))
NO_READ = Keys("noread", "NOREADKEY0000000", "noread-secret-of-the-tests", ("Write", "List"))
IDENTITIES = (ADMIN, READER, WRITER, NO_LIST, NO_WRITE, NO_READ)


class Seaweed:
    """A running server: `url`, and a client for each identity. A context manager; ended with this process anyway.

    `weed` is another program than this environment's, `lacking` names options that it does not know.
    """

    def __init__(
        self,
        folder: Path,
        *,
        identities: Sequence[Keys] = IDENTITIES,
        patience: float = 60.0,
        weed: Path | None = None,
        lacking: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._weed = weed or program()
        self._lacking = lacking
        self.url = ""
        self._ports: Sequence[int] = ()
        self._identities = identities
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Seaweed:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until a signed request is answered; another set of ports when one was taken."""
        begun = time.monotonic()
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        config = self.folder / "s3.json"
        config.write_text(json.dumps(_config(self._identities)))
        # Each bucket has volumes of its own; at the usual seven at a time a few dozen buckets use up all that may be.
        (self.folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        for last in (False, False, True):
            self._ports = free_ports(8)
            self.url = f"http://127.0.0.1:{self._ports[7]}"
            options = _options(data, config, self._ports)
            command = [str(self._weed), *(one for one in options if one.split("=")[0] not in self._lacking)]
            self._process = children.start(command, log=self.folder / "log", cwd=self.folder)
            if self._ready(begun + self._patience):
                break
            self.stop()
            if last:
                raise RuntimeError(f"SeaweedFS did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
        self.client().create_bucket(Bucket=WRITER_BUCKET)

    def stop(self) -> None:
        """End the server."""
        if self._process is not None:
            children.stop(self._process)
            self._process = None
        # It leaves these behind, in a folder that no option moves.
        for port in self._ports:
            for role in ("master", "volume", "filer", "s3"):
                Path(f"/tmp/seaweedfs-{role}-grpc-{port}.sock").unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def client(self, keys: Keys = ADMIN, *, url: str | None = None) -> Any:
        """A plain boto3 S3 client, independent of the code under test."""
        return plain_client(url or self.url, keys.access_key, keys.secret_key)

    def environment(self, keys: Keys = ADMIN) -> Mapping[str, str]:
        """AWS's own variables for a process that uses this server."""
        return keys.environment(self.url)

    def _ready(self, deadline: float) -> bool:
        assert self._process is not None
        client = self.client()
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                client.list_buckets()
            except (BotoCoreError, ClientError):
                time.sleep(0.05)
            else:
                return True
        return False


def plain_client(url: str, access_key: str, secret_key: str, *, session_token: str | None = None) -> Any:
    """A boto3-style client with nothing of bulkhaul's in it, for set-up and for oracles."""
    return botocore.session.Session(profile=None).create_client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=session_token,
        config=Config(
            proxies={},
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )


def program() -> Path:
    """The server's program, from the wheel in this environment."""
    return Path(sysconfig.get_path("scripts")) / "weed"


def _config(identities: Sequence[Keys]) -> dict[str, Any]:
    return {
        "identities": [
            {
                "name": keys.name,
                "credentials": [{"accessKey": keys.access_key, "secretKey": keys.secret_key}],
                "actions": list(keys.actions),
            }
            for keys in identities
        ]
    }


def _options(data: Path, config: Path, ports: Sequence[int]) -> list[str]:
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3_grpc, s3 = ports
    return [
        "-logtostderr=true",
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        f"-master.port.grpc={master_grpc}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256",
        "-master.electionTimeout=1s",
        f"-volume.port={volume}",
        f"-volume.port.grpc={volume_grpc}",
        "-volume.max=2000",
        "-volume.preStopSeconds=0",
        "-volume.minFreeSpacePercent=0",
        "-filer",
        f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}",
        f"-filer.localSocket={data.parent / 'filer.sock'}",
        "-s3",
        f"-s3.port={s3}",
        f"-s3.port.grpc={s3_grpc}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={data.parent / 's3.sock'}",
        f"-s3.config={config}",
        "-s3.autoCreateBucket=false",
        "-s3.iam=false",
    ]
