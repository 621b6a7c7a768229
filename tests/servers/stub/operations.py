"""S3's operations on the store, one function each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from urllib.parse import quote

from servers.stub.message import Answer, Request, error, tag, xml
from servers.stub.store import Store, Stored, Upload, crc64nvme, stored

Operation = Callable[[Store, Request], Answer]

_KEPT = ("content-type", "x-amz-storage-class")


def _kept_headers(request: Request) -> dict[str, str]:
    kept = {name: value for name, value in request.headers.items() if name in _KEPT or name.startswith("x-amz-meta-")}
    return {"content-type": "binary/octet-stream", **kept}


def put_object(store: Store, request: Request) -> Answer:
    refusal = store.damaged(request) or store.precondition(request)
    if refusal is not None:
        return refusal
    one = store.kept(request, stored(request.body, _kept_headers(request)))
    store.buckets[request.bucket][request.key] = one
    return Answer(headers={"ETag": store.write_etag(one.etag), "x-amz-checksum-crc64nvme": one.crc64nvme})


def _described(store: Store, one: Stored, request: Request) -> dict[str, str]:
    headers = {**one.headers, "ETag": store.write_etag(one.etag), "Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}
    if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers |= {"x-amz-checksum-crc64nvme": one.crc64nvme, "x-amz-checksum-type": "FULL_OBJECT"}
    return headers


def get_object(store: Store, request: Request) -> Answer:
    one = store.buckets[request.bucket].get(request.key)
    if one is None:
        return error(404, "NoSuchKey", "The specified key does not exist.")
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if wanted is None or request.method == "HEAD":
        return Answer(200, one.body, _described(store, one, request))
    first = int(wanted[1])
    last = min(int(wanted[2] or len(one.body) - 1), len(one.body) - 1)
    content_range = {"Content-Range": f"bytes {first}-{last}/{len(one.body)}"}
    return Answer(206, one.body[first : last + 1], _described(store, one, request) | content_range)


def delete_object(store: Store, request: Request) -> Answer:
    store.buckets[request.bucket].pop(request.key, None)
    return Answer(204)


def list_objects(store: Store, request: Request) -> Answer:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after", "")
    page = min(int(query.get("max-keys", "1000")), store.page_size)
    encode = quote if query.get("encoding-type") == "url" else str
    objects = store.buckets[request.bucket]
    rows: dict[str, Stored | None] = {}
    for key in sorted((key for key in objects if key.startswith(prefix)), key=str.encode):
        head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        rows[prefix + head + cut if cut else key] = None if cut else objects[key]
    left = [name for name in rows if name.encode() > after.encode()]
    shown = left[:page]
    inner = []
    for name in shown:
        one = rows[name]
        if one is None:
            inner.append(f"<CommonPrefixes>{tag('Prefix', encode(name))}</CommonPrefixes>")
            continue
        facts = tag("Key", encode(name)) + tag("LastModified", "2026-11-21T10:00:00.000Z")
        facts += tag("ETag", store.write_etag(one.etag)) + tag("Size", len(one.body)) + tag("StorageClass", "STANDARD")
        inner.append(f"<Contents>{facts}</Contents>")
    more = len(left) > len(shown)
    if more:
        inner.append(tag("NextContinuationToken", shown[-1]))
    if encode is quote:
        inner.append(tag("EncodingType", "url"))
    head = tag("Name", request.bucket) + tag("Prefix", encode(prefix)) + tag("MaxKeys", page)
    return xml("ListBucketResult", head, tag("KeyCount", len(shown)), tag("IsTruncated", str(more).lower()), *inner)


def head_bucket(_store: Store, _request: Request) -> Answer:
    return Answer(200, headers={"x-amz-bucket-region": "us-east-1"})


def delete_bucket(store: Store, request: Request) -> Answer:
    del store.buckets[request.bucket]
    return Answer(204)


def create_upload(store: Store, request: Request) -> Answer:
    name = store.new_upload(Upload(request.bucket, request.key, headers=_kept_headers(request)))
    facts = tag("Bucket", request.bucket) + tag("Key", request.key) + tag("UploadId", name)
    return xml("InitiateMultipartUploadResult", facts)


def upload_part(store: Store, request: Request) -> Answer:
    upload = store.uploads.get(request.query["uploadId"])
    if upload is None:
        return error(404, "NoSuchUpload", "The specified upload does not exist.")
    refusal = store.damaged(request)
    if refusal is not None:
        return refusal
    part = store.kept(request, stored(request.body))
    upload.parts[int(request.query["partNumber"])] = part
    return Answer(headers={"ETag": store.write_etag(part.etag), "x-amz-checksum-crc64nvme": part.crc64nvme})


def list_parts(store: Store, request: Request) -> Answer:
    upload = store.uploads.get(request.query["uploadId"])
    if upload is None:
        return error(404, "NoSuchUpload", "The specified upload does not exist.")
    after = int(request.query.get("part-number-marker", "0"))
    page = min(int(request.query.get("max-parts", "1000")), store.page_size)
    left = [number for number in sorted(upload.parts) if number > after]
    rows = []
    for number in left[:page]:
        part = upload.parts[number]
        facts = tag("PartNumber", number) + tag("ETag", store.write_etag(part.etag)) + tag("Size", len(part.body))
        rows.append(f"<Part>{facts}</Part>")
    more = len(left) > page
    marker = tag("NextPartNumberMarker", left[:page][-1] if left else 0)
    facts = tag("Bucket", upload.bucket) + tag("Key", upload.key) + tag("UploadId", request.query["uploadId"])
    return xml("ListPartsResult", facts, tag("IsTruncated", str(more).lower()), marker, *rows)


def complete_upload(store: Store, request: Request) -> Answer:
    name = request.query["uploadId"]
    upload = store.uploads.get(name)
    if upload is None:
        return error(404, "NoSuchUpload", "The specified upload does not exist.")
    parts = re.findall(rb"<Part>(.*?)</Part>", request.body, re.DOTALL)
    named = [(int(_text(part, b"PartNumber")), _text(part, b"ETag").strip('"')) for part in parts]
    chosen = [upload.parts.get(number) for number, _ in named]
    told = [None if part is None else store.write_etag(part.etag).strip('"') for part in chosen]
    if told != [etag for _, etag in named] or not named:
        return error(400, "InvalidPart", "One or more of the specified parts could not be found.")
    present = [part for part in chosen if part is not None]
    body = b"".join(part.body for part in present)
    sent = request.headers.get("x-amz-checksum-crc64nvme")
    if store.enforce_checksums and sent is not None and sent != crc64nvme(body):
        return error(400, "BadDigest", "The CRC64NVME you specified did not match the calculated checksum.")
    refusal = store.precondition(request)
    if refusal is not None:
        return refusal
    md5 = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in present)).hexdigest()
    etag = f"{md5}-{len(present)}"
    one = store.kept(request, Stored(body, etag, crc64nvme(body), upload.headers))
    store.buckets[upload.bucket][upload.key] = one
    del store.uploads[name]
    facts = tag("Bucket", upload.bucket) + tag("Key", upload.key) + tag("ETag", store.write_etag(etag))
    return xml("CompleteMultipartUploadResult", facts, tag("ChecksumCRC64NVME", one.crc64nvme))


def _text(element: bytes, name: bytes) -> str:
    found = re.search(rb"<%s>(.*?)</%s>" % (name, name), element, re.DOTALL)
    return "" if found is None else found[1].decode().replace("&quot;", '"').replace("&#34;", '"')


def abort_upload(store: Store, request: Request) -> Answer:
    if store.uploads.pop(request.query["uploadId"], None) is None:
        return error(404, "NoSuchUpload", "The specified upload does not exist.")
    return Answer(204)


def list_uploads(store: Store, request: Request) -> Answer:
    prefix = request.query.get("prefix", "")
    rows = [
        f"<Upload>{tag('Key', one.key)}{tag('UploadId', name)}{tag('Initiated', '2026-11-21T10:00:00.000Z')}</Upload>"
        for name, one in store.uploads.items()
        if one.bucket == request.bucket and one.key.startswith(prefix)
    ]
    return xml("ListMultipartUploadsResult", tag("Bucket", request.bucket), tag("IsTruncated", "false"), *rows)


OPERATIONS: dict[str, Operation] = {
    "PutObject": put_object,
    "GetObject": get_object,
    "HeadObject": get_object,
    "DeleteObject": delete_object,
    "ListObjectsV2": list_objects,
    "HeadBucket": head_bucket,
    "DeleteBucket": delete_bucket,
    "CreateMultipartUpload": create_upload,
    "UploadPart": upload_part,
    "ListParts": list_parts,
    "CompleteMultipartUpload": complete_upload,
    "AbortMultipartUpload": abort_upload,
    "ListMultipartUploads": list_uploads,
}


def serve(store: Store, request: Request) -> Answer:
    """Do what `request` asks of the store."""
    with store.lock:
        if request.operation == "CreateBucket":
            store.make_bucket(request.bucket)
            return Answer(200)
        operation = OPERATIONS.get(request.operation)
        if operation is None:
            return error(501, "NotImplemented", f"the stub does not know {request.operation}")
        if request.bucket not in store.buckets:
            return error(404, "NoSuchBucket", "The specified bucket does not exist")
        return operation(store, request)
