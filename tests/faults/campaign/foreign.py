"""What other people have in the bucket: objects and begun uploads that must be as they were, whatever happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from faults.campaign.datasets import Dataset

_BODY = b"not ours" * 1000


@dataclass(frozen=True, slots=True)
class Foreign:
    """An object below a dataset's prefix, and two uploads: one of a key of the dataset's own, one of another."""

    bucket: str
    key: str
    uploads: tuple[tuple[str, str], ...]


def leave_foreign(client: Any, bucket: str, dataset: Dataset) -> Foreign:
    """Put all of it, before the campaign begins."""
    key = f"{dataset.prefix}/somebody-elses.bin"
    client.put_object(Bucket=bucket, Key=key, Body=_BODY)
    uploads = []
    for name in ("objects.csv", "somebody-elses-upload.bin"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=f"{dataset.prefix}/{name}")["UploadId"]
        client.upload_part(Bucket=bucket, Key=f"{dataset.prefix}/{name}", UploadId=upload, PartNumber=1, Body=_BODY)
        uploads.append((f"{dataset.prefix}/{name}", upload))
    return Foreign(bucket, key, tuple(uploads))


def faults_of_foreign(client: Any, foreign: Foreign) -> list[str]:
    """What is not as it was, and each begun upload that is nobody's."""
    faults = []
    if client.get_object(Bucket=foreign.bucket, Key=foreign.key)["Body"].read() != _BODY:
        faults.append("a foreign object was overwritten")
    begun = client.list_multipart_uploads(Bucket=foreign.bucket).get("Uploads", [])
    left = {(upload["Key"], upload["UploadId"]) for upload in begun}
    faults += [f"a foreign upload of {key} was touched" for key, upload in set(foreign.uploads) - left]
    faults += [f"an upload of {key} is left" for key, _ in sorted(left - set(foreign.uploads))]
    for key, upload in set(foreign.uploads) & left:
        parts = client.list_parts(Bucket=foreign.bucket, Key=key, UploadId=upload).get("Parts", [])
        if [part["Size"] for part in parts] != [len(_BODY)]:
            faults.append(f"the parts of a foreign upload of {key} are not as they were")
    return faults
