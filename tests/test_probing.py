"""Which probes count as abandoned, and what is removed of them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bulkhaul.errors import AccessDenied, Stopped
from bulkhaul.joblist.job import Owner, SlurmTask
from bulkhaul.joblist.liveness import this_owner
from bulkhaul.probing import Intent, abandoned, announced
from bulkhaul.s3.location import S3Location

PLATE = S3Location("bucket", "lab/plate")


def found(folder: Path, *, gone: bool) -> list[Intent]:
    return list(abandoned(folder, lambda _owner: gone))


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_an_intent_is_there_while_the_block_runs_and_goes_with_its_end(tmp_path: Path) -> None:
    with announced(tmp_path / "probe", PLATE, this_owner()) as begun:
        (intent,) = found(tmp_path / "probe", gone=True)
        assert (intent.location, intent.token) == (PLATE, begun.token)
    assert list((tmp_path / "probe").iterdir()) == []


def test_an_error_of_s3_ends_the_intent_and_a_stop_leaves_it(tmp_path: Path) -> None:
    with pytest.raises(AccessDenied), announced(tmp_path, PLATE, this_owner()):
        raise AccessDenied("lab", "denied", "ask")
    assert list(tmp_path.iterdir()) == [], "the probe has removed what it wrote"
    with pytest.raises(Stopped), announced(tmp_path, PLATE, this_owner()):
        raise Stopped("worker", "Ctrl-C", "start again")
    assert [intent.location for intent in found(tmp_path, gone=True)] == [PLATE]


def test_a_probe_in_doubt_leaves_its_intent_whether_it_failed_or_not(tmp_path: Path) -> None:
    with announced(tmp_path, PLATE, this_owner()) as begun:
        begun.doubt()
    with pytest.raises(AccessDenied), announced(tmp_path, PLATE, this_owner()) as failed:
        failed.doubt()
        raise AccessDenied("lab", "denied", "ask")
    assert sorted(intent.token for intent in found(tmp_path, gone=True)) == sorted([begun.token, failed.token])


@pytest.mark.parametrize(
    ("seconds", "gone", "count"), [(0, False, 0), (0, True, 1), (3500, False, 0), (3700, False, 1)]
)
def test_a_probe_is_abandoned_when_its_owner_is_dead_or_it_is_too_old_to_go_on(
    tmp_path: Path, seconds: float, gone: bool, count: int
) -> None:
    owner = replace(this_owner(), slurm=SlurmTask("lab", "98", "97", 3))
    judged: list[Owner] = []

    def owner_gone(owner: Owner) -> bool:
        judged.append(owner)
        return gone

    with pytest.raises(Stopped), announced(tmp_path, PLATE, owner) as begun:
        raise Stopped("worker", "killed", "nothing")
    age(tmp_path / f"{begun.token}.intent", seconds)
    assert len(list(abandoned(tmp_path, owner_gone))) == count
    assert judged == ([owner] if seconds < 3600 else []), "the owner is read back as it was"


def test_what_is_no_intent_is_passed_over(tmp_path: Path) -> None:
    good = {"location": str(PLATE), "owner": asdict(this_owner())}
    for number, content in enumerate(
        (b"", b"{", b"[]", b'{"location": "s3://bucket/x"}', b'{"location": 1, "owner": {}}')
    ):
        (tmp_path / f"{number}.intent").write_bytes(content)
    (tmp_path / "bucket.json").write_text(json.dumps(good))
    (tmp_path / "9.intent").write_text(json.dumps(good))
    assert [intent.token for intent in found(tmp_path, gone=True)] == ["9"]
    assert found(tmp_path / "missing", gone=True) == []
