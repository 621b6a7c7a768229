"""What the mount below a joblist asks of its lease."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkhaul.errors import UsageError
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.joblist.mounts import Mount, least_lease, present_mounts


@pytest.mark.parametrize(
    ("kind", "seconds"), [("nfs", 90), ("nfs4", 90), ("lustre", 0), ("ext4", 0), ("tmpfs", 0), ("nfsd", 0)]
)
def test_over_nfs_a_beat_may_show_a_minute_late(kind: str, seconds: float) -> None:
    assert least_lease(Mount("server:/x", Path("/x"), kind, ("rw",))) == seconds


def test_an_unknown_mount_asks_for_nothing() -> None:
    assert least_lease(None) == 0


def test_a_lease_that_is_too_short_for_nfs_is_refused_before_anything_is_claimed(tmp_path: Path) -> None:
    nfs = Mount("server:/home", tmp_path, "nfs4", ("rw",))
    short = Joblist(tmp_path, lease_ttl=60, heartbeat=20, mounts=lambda: (nfs,))
    with pytest.raises(UsageError, match=r"lease_ttl: 60 s, and .* lies on NFS.*; set at least 90"):
        short.session(this_owner())
    assert list(tmp_path.iterdir()) == []
    Joblist(tmp_path, lease_ttl=90, heartbeat=20, mounts=lambda: (nfs,)).session(this_owner())


def test_this_machines_mounts_can_be_read() -> None:
    assert any(mount.point == Path("/") for mount in present_mounts())
