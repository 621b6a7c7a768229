"""The judge of a campaign: its own walk, listing and reading of each object; it shares no code with bulkhaul."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from e2e.lab import PREFIX
from faults.campaign.datasets import Dataset, tree
from faults.campaign.foreign import Foreign, faults_of_foreign
from faults.campaign.ledger import faults_of_job_file, faults_of_ledger, is_proven, newest, status_of
from faults.campaign.site import Site

_MANIFEST = ".manifest.jsonl.gz"


@dataclass(slots=True)
class Bucket:
    """The bucket as the server tells it, past the proxy: a client that lists, and bare requests that read."""

    client: Any
    url: str
    name: str
    objects_read: int = 0

    def listing(self, prefix: str) -> dict[str, str]:
        """ETag of each object by its key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return {entry["Key"]: entry["ETag"].strip('"') for page in pages for entry in page.get("Contents", [])}

    def bodies(self, keys: Iterator[str] | list[str]) -> Iterator[tuple[str, bytes]]:
        """Each object's bytes, over one connection."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            for key in keys:
                connection.request("GET", f"/{self.name}/{quote(key)}")
                answer = connection.getresponse()
                body = answer.read()
                assert answer.status == 200, (key, answer.status, body[:200])
                self.objects_read += 1
                yield key, body
        finally:
            connection.close()


def faults_amid(site: Site, bucket: Bucket) -> list[str]:
    """What no campaign may leave, not even before its faults are over and its errors repeated."""
    faults = []
    for dataset in site.datasets:
        target = f"s3://{bucket.name}/{dataset.prefix}"
        faults += faults_of_job_file(site.joblist, dataset, target=target)
        faults += faults_of_ledger(site.joblist, dataset.job)
        if is_proven(site.joblist, dataset.job):
            faults += faults_of_success(dataset, bucket)
    return faults


def faults_after(site: Site, bucket: Bucket, foreign: Foreign) -> list[str]:
    """What is not as it must be once the faults are over and everything was started again."""
    faults = []
    for dataset in site.datasets:
        record = newest(site.joblist, dataset.job)
        if not is_proven(site.joblist, dataset.job):
            faults.append(f"{dataset.job}: never became a success: {record}")
            continue
        if (line := status_of(site.joblist, dataset.job)) != "success":
            faults.append(f"{dataset.job}: line 1 says {line!r}, its ledger success")
        faults += faults_of_ledger(site.joblist, dataset.job)
        faults += faults_of_success(dataset, bucket, foreign=foreign)
        faults += _faults_of_manifest(site, dataset, bucket)
    faults += faults_of_foreign(bucket.client, foreign)
    expected = {dataset.prefix for dataset in site.datasets}
    for key in bucket.listing(""):
        if not any(key.startswith(f"{prefix}/") or key == prefix + _MANIFEST for prefix in expected):
            faults.append(f"{key} was left in the bucket")
    assert all(dataset.prefix.startswith(PREFIX) for dataset in site.datasets)
    return faults


def faults_of_success(dataset: Dataset, bucket: Bucket, *, foreign: Foreign | None = None) -> list[str]:
    """Each file of the tree is in S3 with its bytes; before the end, those of any version of a changed file."""
    local = tree(dataset)
    keys = {key.removeprefix(f"{dataset.prefix}/"): key for key in bucket.listing(f"{dataset.prefix}/")}
    final = foreign is not None
    faults = []
    missing = local.keys() - keys.keys() - (set() if final else dataset.versions.keys())
    faults += [f"{dataset.job}: FALSE SUCCESS: {name} is not in S3" for name in sorted(missing)]
    for key, body in bucket.bodies([keys[name] for name in sorted(local.keys() & keys.keys())]):
        name = key.removeprefix(f"{dataset.prefix}/")
        allowed = {local[name]} | (set() if final else dataset.versions.get(name, set()))
        if hashlib.sha256(body).hexdigest() not in allowed:
            faults.append(f"{dataset.job}: FALSE SUCCESS: {name} is not what it should be ({len(body)} bytes)")
    if foreign is not None:
        others = keys.keys() - local.keys() - dataset.gone
        faults += [f"{dataset.job}: {name} is nobody's" for name in others if keys[name] != foreign.key]
    return faults


def _faults_of_manifest(site: Site, dataset: Dataset, bucket: Bucket) -> list[str]:
    """The manifest names each file of the tree, once, with the ETag that the server lists; both copies are equal."""
    kept = (site.joblist / f"{dataset.job}{_MANIFEST}").read_bytes()
    if dataset.prefix + _MANIFEST not in bucket.listing(dataset.prefix + _MANIFEST):
        return [f"{dataset.job}: no manifest in S3"]
    stored = next(bucket.bodies([dataset.prefix + _MANIFEST]))[1]
    records = [json.loads(line) for line in gzip.decompress(stored).splitlines()]
    etags = bucket.listing(f"{dataset.prefix}/")
    told = {record["name"]: (record["outcome"], record["size"], record["etag"]) for record in records}
    sizes = {name: (dataset.folder / name).stat().st_size for name in tree(dataset)}
    listed = {name: (size, etags.get(f"{dataset.prefix}/{name}")) for name, size in sizes.items()}
    faults = []
    if kept != stored:
        faults.append(f"{dataset.job}: the manifest in S3 is another than the joblist's")
    if len(told) != len(records) or {name: value[1:] for name, value in told.items()} != listed:
        faults.append(f"{dataset.job}: manifest, tree and S3 differ: {_differences(told, listed)}")
    if any(value[0] not in ("sent", "skipped") for value in told.values()):
        faults.append(f"{dataset.job}: its manifest has failures")
    return faults


def _differences(told: dict[str, Any], listed: dict[str, Any]) -> list[Any]:
    names = sorted(told.keys() | listed.keys())
    return [(n, told.get(n), listed.get(n)) for n in names if (told.get(n) or ("",))[1:] != listed.get(n)][:5]
