"""The sink's multipart uploads: parts, lists of parts, completion, abortion."""

from __future__ import annotations

from typing import Any

from benchmarks.running import Program, refused
from benchmarks.wire import crc_of


def test_an_upload_completes_from_the_right_list_of_its_parts_alone(sink: Program) -> None:
    client = sink.client(request_checksum_calculation="when_required")
    at = {"Bucket": "bucket", "Key": "big"}
    full = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
    upload = {**at, "UploadId": client.create_multipart_upload(**at, **full, Metadata={"m": "n"})["UploadId"]}
    parts = []
    for number in (3, 1, 2):
        body = bytes([number]) * (1000 * number)
        crc = {"ChecksumCRC64NVME": crc_of(body)}
        wrong = {"ChecksumCRC64NVME": crc_of(b"else")}
        with refused("BadDigest"):
            client.upload_part(**upload, PartNumber=number, Body=body, **wrong)
        answer = client.upload_part(**upload, PartNumber=number, Body=body, **crc)
        assert answer["ChecksumCRC64NVME"] == crc["ChecksumCRC64NVME"]
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **crc})
    parts.sort(key=lambda part: part["PartNumber"])
    assert_listed(client, upload, parts)
    given = {"ChecksumCRC64NVME": crc_of(b"".join(bytes([n]) * (1000 * n) for n in (1, 2, 3)))}
    refuse_wrong_lists(client, upload, parts)
    answer = client.complete_multipart_upload(
        **upload, MultipartUpload={"Parts": parts}, **given, ChecksumType="FULL_OBJECT"
    )
    assert answer["ETag"].endswith('-3"')
    assert answer["ChecksumCRC64NVME"] == given["ChecksumCRC64NVME"]
    head = client.head_object(**at, ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ETag"], head["Metadata"]) == (6000, answer["ETag"], {"m": "n"})
    assert head["ChecksumCRC64NVME"] == given["ChecksumCRC64NVME"]
    with refused("NoSuchUpload"):
        client.list_parts(**upload)


def assert_listed(client: Any, upload: dict[str, str], parts: list[dict[str, Any]]) -> None:
    listing = client.list_parts(**upload)
    assert (listing["ChecksumAlgorithm"], listing["ChecksumType"]) == ("CRC64NVME", "FULL_OBJECT")
    assert [one["Size"] for one in listing["Parts"]] == [1000, 2000, 3000]
    assert [{name: one[name] for name in parts[0]} for one in listing["Parts"]] == parts
    page = client.list_parts(**upload, MaxParts=2)
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == (True, 2)
    page = client.list_parts(**upload, PartNumberMarker=2)
    assert [one["PartNumber"] for one in page["Parts"]] == [3]
    assert not page["IsTruncated"]


def refuse_wrong_lists(client: Any, upload: dict[str, str], parts: list[dict[str, Any]]) -> None:
    def complete(listed: list[dict[str, Any]]) -> None:
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": listed})

    with refused("InvalidPartOrder"):
        complete(parts[::-1])
    with refused("InvalidPart"):
        complete([{"PartNumber": 1, "ETag": parts[1]["ETag"]}])
    with refused("InvalidPart"):
        complete([*parts, {"PartNumber": 9, "ETag": parts[1]["ETag"]}])
    with refused("MalformedXML"):
        complete([])


def test_uploads_are_listed_by_pages_and_gone_once_aborted(sink: Program) -> None:
    client = sink.client()
    keys = sorted(f"up/{at % 5}&é" for at in range(12))
    ids = [client.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"] for key in keys]
    page = client.list_multipart_uploads(Bucket="bucket", Prefix="up/")
    assert [(one["Key"], one["UploadId"]) for one in page["Uploads"]] == list(zip(keys, ids, strict=True))
    found, marker = [], {}
    while True:
        page = client.list_multipart_uploads(Bucket="bucket", MaxUploads=5, **marker)
        found += [one["UploadId"] for one in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert found == ids
    for key, upload_id in zip(keys, ids, strict=True):
        client.abort_multipart_upload(Bucket="bucket", Key=key, UploadId=upload_id)
        with refused("NoSuchUpload"):
            client.upload_part(Bucket="bucket", Key=key, UploadId=upload_id, PartNumber=1, Body=b"x")
    assert "Uploads" not in client.list_multipart_uploads(Bucket="bucket")
