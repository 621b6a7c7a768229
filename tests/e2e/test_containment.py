"""Nothing from outside of a dataset reaches S3, whatever is swapped for a link while it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.accounts import FAILED, JOB, PREFIX, error_line, manifest, plate
from e2e.lab import Lab, write_plate
from e2e.oracle import plain_client, remote_keys
from e2e.turnstile import amid_files, front_env, worker_held
from servers.stub_s3 import StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slow]

FILES = 700  # enough for sender processes, and more than are in memory when the first ones are held
SECRET = b"a private key of whoever runs the worker"


def fill(lab: Lab) -> Path:
    """A plate whose last folder has many files, and a folder elsewhere that has the same names; that one."""
    write_plate(plate(lab), chunks=3, seed=1)
    outside = lab.folder / "home"
    for folder in (plate(lab) / "zz" / "sub", outside / "sub"):
        folder.mkdir(parents=True)
    for number in range(FILES):
        (plate(lab) / "zz" / "sub" / f"{number:04}").write_text(f"ours {number}")
        (outside / "sub" / f"{number:04}").write_bytes(SECRET)
    lab.extract()
    return outside


def test_a_folder_swapped_for_a_link_amid_a_transfer_sends_nothing_of_what_lies_behind(
    lab: Lab, front: StubS3, engine: str
) -> None:
    outside = fill(lab)
    with worker_held(lab, amid_files(front, free=20), env=front_env(front), expect=3):
        (plate(lab) / "zz").rename(lab.folder / "away")
        (plate(lab) / "zz").symlink_to(outside)
    assert all(SECRET not in body for body in bodies(lab).values())
    failed = {name: record["reason"] for name, record in manifest(lab).items() if record["outcome"] == FAILED}
    assert failed, "all had been read before the swap: this proves nothing"
    assert set(failed.values()) == {"lies behind a symlink, or was moved"}
    assert "lies behind a symlink" in error_line(lab)
    assert lab.statuses() == {JOB: "error"}

    (plate(lab) / "zz").unlink()
    (lab.folder / "away").rename(plate(lab) / "zz")
    lab.retry()
    lab.transfer()
    assert len(bodies(lab)) == FILES


def bodies(lab: Lab) -> dict[str, bytes]:
    """The objects below the folder in question."""
    client = plain_client(lab.env)
    keys = remote_keys(client, lab.bucket, f"{PREFIX}/zz")
    return {key: client.get_object(Bucket=lab.bucket, Key=key)["Body"].read() for key in keys}
