"""One large file in parts through a front that counts them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from e2e.accounts import PREFIX, plate
from e2e.lab import Lab, write_plate
from e2e.oracle import plain_client
from e2e.turnstile import front_env
from servers.stub.message import Request
from servers.stub_s3 import StubS3

MIB = 1 << 20


PART = 5 * MIB


PARTS = 12


NAME = "objects.csv"


KEY = f"{PREFIX}/{NAME}"


IN_PARTS = {"BULKHAUL_PART_SIZE": "5MiB", "BULKHAUL_MULTIPART_THRESHOLD": "5MiB"}


ALL_PARTS = list(range(1, PARTS + 1))


AT_ONCE = 4  # parts of one file in flight


def begin(lab: Lab, size: int = PARTS * PART - 1) -> Path:
    """The plate with a few chunks and one large file, its job extracted; the large file."""
    write_plate(plate(lab), chunks=3, seed=1)
    path = plate(lab) / NAME
    path.write_bytes(random.Random(size).randbytes(size))
    lab.extract()
    return path


def through(front: StubS3) -> dict[str, str]:
    return {**front_env(front), **IN_PARTS}


def of_the_file(request: Request) -> bool:
    return request.key == KEY


def parts_by_upload(front: StubS3) -> list[list[int]]:
    """For each upload in turn the numbers of the parts that S3 has taken, sorted, as often as it took them."""
    taken: dict[str, list[int]] = {}
    for entry in front.log.entries:
        if entry.key == KEY and entry.operation == "UploadPart" and entry.status == 200:
            taken.setdefault(entry.query["uploadId"], []).append(int(entry.query["partNumber"]))
    return [sorted(numbers) for numbers in taken.values()]


def parked(lab: Lab) -> list[Any]:
    uploads = plain_client(lab.env).list_multipart_uploads(Bucket=lab.bucket).get("Uploads", [])
    return [upload for upload in uploads if upload["Key"] == KEY]
