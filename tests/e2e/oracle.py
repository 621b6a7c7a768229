"""The judge of the end-to-end tests: its own walk and listing, every object downloaded; no code of bulkhaul's."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from e2e.lab import Lab, plate_folder, plate_key


def plain_client(env: Mapping[str, str]) -> Any:
    """A boto3 client with the keys and endpoint of `env`, nothing else of the test's environment."""
    return boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL_S3"],
        region_name=env.get("AWS_REGION", "us-east-1"),
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
    )


def local_digests(folder: Path, *, but: Collection[str] = ()) -> dict[str, str]:
    """SHA-256 of each regular file below `folder`, by its relative name; those in `but` are not read."""
    found = {}
    for parent, _folders, files in os.walk(folder):
        for name in files:
            path = Path(parent, name)
            relative = str(path.relative_to(folder))
            if relative not in but and path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    found[relative] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def remote_keys(client: Any, bucket: str, prefix: str = "") -> list[str]:
    """Each key of the bucket that begins with `prefix`."""
    keys: list[str] = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        keys.extend(entry["Key"] for entry in page.get("Contents", []))
    return keys


def remote_digests(client: Any, bucket: str, prefix: str) -> dict[str, str]:
    """SHA-256 of each object below `prefix/`, by its name there; every byte is downloaded."""
    found = {}
    for key in remote_keys(client, bucket, f"{prefix}/"):
        digest = hashlib.sha256()
        for block in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
            digest.update(block)
        found[key.removeprefix(f"{prefix}/")] = digest.hexdigest()
    return found


def assert_arrived(client: Any, source: Path, *, bucket: str, prefix: str) -> None:
    """S3 holds exactly the source below `prefix/`: no file less, none more, each byte the same; no upload is parked."""
    local, remote = local_digests(source), remote_digests(client, bucket, prefix)
    assert local, f"{source} is empty: this would prove nothing"
    assert sorted(remote) == sorted(local)
    assert remote == local
    parked = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [upload["Key"] for upload in parked if upload["Key"].startswith(f"{prefix}/")] == []


def assert_plates_arrived(lab: Lab, *plates: str) -> None:
    """The same for each of these plates of the batch `J1`."""
    assert plates, "no plate: this would prove nothing"
    client = plain_client(lab.env)
    for plate in plates:
        source = plate_folder(lab.results, batch="J1", plate=plate)
        assert_arrived(client, source, bucket=lab.bucket, prefix=plate_key(batch="J1", plate=plate))


def read_manifest(data: bytes) -> list[dict[str, Any]]:
    """The records of a manifest (gzip, JSON lines)."""
    return [json.loads(line) for line in gzip.decompress(data).splitlines()]
