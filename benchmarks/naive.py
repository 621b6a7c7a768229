"""The older scripts' way: boto3's `upload_file` in a pool of ten threads. `naive.py TREE BUCKET PREFIX`."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3


def main(tree: Path, bucket: str, prefix: str) -> None:
    client = boto3.client("s3")
    with ThreadPoolExecutor(10) as pool:
        files = (path for path in tree.rglob("*") if path.is_file())
        for done in [pool.submit(client.upload_file, str(f), bucket, f"{prefix}/{f.relative_to(tree)}") for f in files]:
            done.result()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
