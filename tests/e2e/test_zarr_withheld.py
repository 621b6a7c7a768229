"""Chunks that cannot be sent: the metadata above them are withheld, and old ones are told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import pytest

from e2e.accounts import (
    FAILED,
    JOB,
    PREFIX,
    SKIPPED,
    Fate,
    assert_books,
    error_line,
    job_text,
    manifest,
    plate,
    retry,
    transfer,
)
from e2e.lab import Lab
from e2e.oracle import plain_client, remote_keys
from e2e.poor_lab import PoorLab
from e2e.turnstile import Turnstile, front_env, is_probe, worker_held
from e2e.zarrs import (
    DAMAGED,
    FORMATS,
    METADATA,
    NAME,
    SOUND,
    Reader,
    assert_equal_in_s3,
    begin,
    is_metadata,
    name_of,
)
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3


def chunk(folder: Path) -> Path:
    """A chunk of the array that something happens to: the one that sorts last."""
    chunks = [path for path in (folder / DAMAGED).rglob("*") if path.is_file() and path.name not in METADATA]
    assert len(chunks) == 100
    return max(chunks)


def assert_withheld(lab: Lab, cause: str, fate: Fate) -> None:
    """Exactly the metadata above `cause` stay away from S3, each with that reason; the sound array is whole there."""
    above = [str(path) for path in Path(cause).parents]
    names = [path for path in plate(lab).rglob("*") if path.name in METADATA]
    withheld = [name_of(lab, path) for path in names if str(Path(name_of(lab, path)).parent) in above]
    assert {str(Path(name).parent) for name in withheld} >= {NAME, f"{NAME}/cells", f"{NAME}/{DAMAGED}"}
    reason = Fate(FAILED, f"withheld: {cause} did not arrive")
    assert_books(lab, {cause: fate, **dict.fromkeys(withheld, reason)})
    keys = remote_keys(plain_client(lab.env), lab.bucket, f"{PREFIX}/{NAME}/{SOUND}/")
    assert any(is_metadata(key) for key in keys)
    line = error_line(lab)
    assert f"error: {len(withheld) + (fate.outcome == FAILED)} file(s) failed: " in line
    assert "withheld: " in line
    assert "mend them, then `bulkhaul retry`" in line


@FORMATS
def test_a_chunk_that_vanishes_withholds_the_metadata_above_it_until_it_is_back(
    lab: Lab, front: StubS3, tmp_path: Path, zarr_format: Literal[2, 3]
) -> None:
    folder = begin(lab, zarr_format)
    late = chunk(folder)
    content = late.read_bytes()
    held = Turnstile(front, "PutObject", fits=lambda request: f"/{DAMAGED}/" in request.key)
    with worker_held(lab, held, env=front_env(front), expect=3):
        time.sleep(1.0)  # the plan of a few hundred files takes milliseconds
        late.unlink()
    assert_withheld(lab, name_of(lab, late), Fate(FAILED, "vanished while it was read"))

    late.write_bytes(content)
    retry(lab)
    front.script.clear()
    withheld = [name for name, record in manifest(lab).items() if record.get("reason", "").startswith("withheld")]
    reader = Reader(front, lab)
    assert transfer(lab, env=front_env(front))["files_sent"] == 1 + len(withheld)
    assert reader.too_early == []
    assert sorted(reader.order) == sorted(withheld)
    assert_books(lab, {})
    assert_equal_in_s3(lab, tmp_path / "copy")


def assert_refusal_withholds(lab: Lab, odd: Path) -> None:
    """The same for a chunk that is refused after its array had been withheld for another reason."""
    records = manifest(lab)
    assert records[name_of(lab, odd)]["reason"] == "refused: the name has a backslash"
    withheld = [name for name, record in records.items() if record.get("reason", "").startswith("withheld")]
    assert sorted({str(Path(name).parent) for name in withheld}) == [NAME, f"{NAME}/cells", f"{NAME}/{DAMAGED}"]
    keys = remote_keys(plain_client(lab.env), lab.bucket, f"{PREFIX}/")
    assert not [name for name in withheld if f"{PREFIX}/{name}" in keys]


@FORMATS
def test_a_chunk_that_is_left_out_or_refused_withholds_too(
    lab: Lab, tmp_path: Path, zarr_format: Literal[2, 3]
) -> None:
    folder = begin(lab, zarr_format)
    link = chunk(folder)
    link.rename(folder.parent / "elsewhere")
    link.symlink_to(folder.parent / "elsewhere")
    transfer(lab, expect=3)
    assert_withheld(lab, name_of(lab, link), Fate(SKIPPED, "symlink"))

    link.unlink()
    (folder.parent / "elsewhere").rename(link)
    odd = link.with_name("back\\slash")
    odd.write_bytes(b"?")
    retry(lab)
    transfer(lab, expect=3)
    assert_refusal_withholds(lab, odd)

    odd.unlink()
    retry(lab)
    transfer(lab)
    assert_equal_in_s3(lab, tmp_path / "copy")


@pytest.mark.parametrize("what", ["chunk", "folder of chunks"])
def test_an_unreadable_chunk_withholds_too(poor_lab: PoorLab, tmp_path: Path, what: str) -> None:
    folder = begin(poor_lab, 3)
    path = chunk(folder)
    path = path if what == "chunk" else path.parent
    poor_lab.hand_over()
    mode = path.stat().st_mode
    path.chmod(0)
    transfer(poor_lab, expect=3)
    if what == "chunk":
        assert_withheld(poor_lab, name_of(poor_lab, path), Fate(FAILED, "no right to read"))
    else:
        record = manifest(poor_lab)[f"{name_of(poor_lab, path)}/"]
        assert record["reason"] == "unreadable: Permission denied"
        assert manifest(poor_lab)[f"{NAME}/zarr.json"]["reason"] == f"withheld: {record['name']} did not arrive"
    path.chmod(mode)
    retry(poor_lab)
    poor_lab.hand_over()
    transfer(poor_lab)
    assert_books(poor_lab, {})
    assert_equal_in_s3(poor_lab, tmp_path / "copy")


def test_old_metadata_over_missing_chunks_are_told_and_nothing_is_deleted(
    lab: Lab, front: StubS3, tmp_path: Path
) -> None:
    folder = begin(lab, 2)
    client = plain_client(lab.env)
    described = [path for path in folder.rglob("*") if path.name in METADATA]
    for path in described:
        client.put_object(Bucket=lab.bucket, Key=f"{PREFIX}/{name_of(lab, path)}", Body=path.read_bytes())
    client.put_object(Bucket=lab.bucket, Key=f"{PREFIX}/{NAME}/old/c/0", Body=b"foreign")
    transfer(lab, env=front_env(front))
    said = [line for line in job_text(lab).splitlines() if "stood in S3 over missing files" in line]
    assert len(said) == 1
    assert f"{NAME}/" in said[0]
    deleted = [entry.key for entry in front.log.entries if entry.operation.startswith("Delete")]
    assert [key for key in deleted if not is_probe(key)] == []
    assert client.get_object(Bucket=lab.bucket, Key=f"{PREFIX}/{NAME}/old/c/0")["Body"].read() == b"foreign"
    records = manifest(lab)
    for path in described:
        stood = f"same content; stood over missing files, the first '{name_of(lab, path.parent)}/"
        assert records[name_of(lab, path)]["reason"].startswith(stood)
    client.delete_object(Bucket=lab.bucket, Key=f"{PREFIX}/{NAME}/old/c/0")
    assert_books(lab, {})
    assert_equal_in_s3(lab, tmp_path / "copy")


def test_old_metadata_over_a_chunk_that_cannot_be_sent_are_told_and_the_job_fails(lab: Lab) -> None:
    folder = begin(lab, 3)
    client = plain_client(lab.env)
    top = folder / DAMAGED / "zarr.json"
    client.put_object(Bucket=lab.bucket, Key=f"{PREFIX}/{name_of(lab, top)}", Body=top.read_bytes())
    for path in (folder / DAMAGED).rglob("*"):
        if path.is_file() and path.name not in METADATA:
            client.put_object(Bucket=lab.bucket, Key=f"{PREFIX}/{name_of(lab, path)}", Body=path.read_bytes())
    link = chunk(folder)
    client.delete_object(Bucket=lab.bucket, Key=f"{PREFIX}/{name_of(lab, link)}")
    link.unlink()
    link.symlink_to("/etc/hostname")
    transfer(lab, expect=3)
    assert "stood in S3 over missing files" in job_text(lab)
    assert manifest(lab)[name_of(lab, top)]["reason"] == f"withheld: {name_of(lab, link)} did not arrive"
    assert JOB in lab.statuses()
