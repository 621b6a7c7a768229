"""The main job from results folder to S3 with real processes: fresh, again, killed and resumed, by both engines."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from e2e.lab import Lab, plate_folder, plate_key, wait_until, write_plate
from e2e.oracle import assert_arrived, plain_client, read_manifest, remote_keys

pytestmark = pytest.mark.s3

ENGINES = pytest.mark.parametrize("engine", ["obstore", "s3transfer"])
MIB = 1 << 20


def fill(lab: Lab, *, plates: int = 3, chunks: int = 120, large: int = 0, chunk_bytes: int = 2_000) -> list[str]:
    """Write plates into the lab's results folder and extract their jobs; the plates' names."""
    names = [f"A{number:04d}" for number in range(1, plates + 1)]
    for seed, name in enumerate(names):
        folder = plate_folder(lab.results, batch="J1", plate=name)
        write_plate(folder, chunks=chunks, seed=seed, large=large, chunk_bytes=chunk_bytes)
    lab.extract()
    return names


def assert_all_arrived(lab: Lab, names: list[str]) -> None:
    client = plain_client(lab.env)
    for name in names:
        source = plate_folder(lab.results, batch="J1", plate=name)
        assert_arrived(client, source, bucket=lab.bucket, prefix=plate_key(batch="J1", plate=name))
        manifest = client.get_object(Bucket=lab.bucket, Key=plate_key(batch="J1", plate=name) + ".manifest.jsonl.gz")
        data = manifest["Body"].read()
        assert data == (lab.joblist / f"source_8__J1__{name}.manifest.jsonl.gz").read_bytes()
        assert len(read_manifest(data)) == sum(1 for path in source.rglob("*") if path.is_file())


@ENGINES
def test_a_fresh_joblist_arrives_whole_and_a_second_run_finds_nothing_to_do(lab: Lab, engine: str) -> None:
    names = fill(lab, large=40 * MIB if engine == "obstore" else 20 * MIB)
    lab.transfer("--engine", engine)
    assert set(lab.statuses().values()) == {"success"}
    assert_all_arrived(lab, names)
    expected = {plate_key(batch="J1", plate=name) for name in names}
    others = [
        key
        for key in remote_keys(plain_client(lab.env), lab.bucket)
        if not any(key.startswith(f"{prefix}/") or key == f"{prefix}.manifest.jsonl.gz" for prefix in expected)
    ]
    assert others == [], "something was left beside the datasets and their manifests"
    before = lab.statuses()
    lab.transfer("--engine", engine)
    assert lab.statuses() == before


def written_at(lab: Lab) -> dict[str, object]:
    """When S3 last wrote each object: what a run that sends nothing leaves as it is."""
    pages = plain_client(lab.env).get_paginator("list_objects_v2").paginate(Bucket=lab.bucket)
    return {entry["Key"]: entry["LastModified"] for page in pages for entry in page.get("Contents", [])}


@ENGINES
def test_kill_9_then_resume_and_a_third_run_sends_nothing(lab: Lab, engine: str) -> None:
    names = fill(lab, plates=2, chunks=1_500, large=24 * MIB)
    jobs = [f"source_8__J1__{name}" for name in names]
    client = plain_client(lab.env)
    prefix = plate_key(batch="J1", plate=names[0]).rpartition("/")[0]
    worker = lab.worker("--engine", engine)
    wait_until(lambda: len(remote_keys(client, lab.bucket, prefix)) > 200, what="the first objects arrive")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert "ongoing" in lab.statuses().values(), "the kill came too late to prove anything"
    lab.transfer("--engine", engine)
    assert set(lab.statuses().values()) == {"success"}
    assert_all_arrived(lab, names)

    before = written_at(lab)
    for job in jobs:
        path = lab.joblist / f"{job}.txt"
        path.write_bytes(path.read_bytes().replace(b"success", b"todo", 1))
    report = json.loads(lab.run("04_transfer_plates.py", "-i", lab.joblist, "--engine", engine, "--json"))
    assert sorted(report["succeeded"]) == sorted(jobs)
    assert report["files_sent"] == 0
    assert set(lab.statuses().values()) == {"success"}
    assert written_at(lab) == before


def test_a_worker_stopped_by_sigterm_gives_its_job_back(lab: Lab) -> None:
    names = fill(lab, plates=1, chunks=3_000)
    client = plain_client(lab.env)
    worker = lab.worker()
    prefix = plate_key(batch="J1", plate=names[0])
    wait_until(lambda: len(remote_keys(client, lab.bucket, prefix)) > 100, what="the first objects arrive")
    worker.send_signal(signal.SIGTERM)
    output, _ = worker.communicate(timeout=30)
    assert worker.returncode == 75, output
    assert lab.statuses() == {f"source_8__J1__{names[0]}": "todo"}
    assert "SIGTERM" in (lab.joblist / f"source_8__J1__{names[0]}.txt").read_text()
    lab.transfer()
    assert_all_arrived(lab, names)


def test_ctrl_c_ends_with_130_and_gives_the_job_back(lab: Lab) -> None:
    names = fill(lab, plates=1, chunks=3_000)
    client = plain_client(lab.env)
    worker = lab.worker()
    prefix = plate_key(batch="J1", plate=names[0])
    wait_until(lambda: len(remote_keys(client, lab.bucket, prefix)) > 100, what="the first objects arrive")
    worker.send_signal(signal.SIGINT)
    output, _ = worker.communicate(timeout=30)
    assert worker.returncode == 130, output
    assert lab.statuses() == {f"source_8__J1__{names[0]}": "todo"}


def test_three_workers_share_a_joblist_while_one_is_killed(lab: Lab) -> None:
    names = fill(lab, plates=9, chunks=150)
    workers = [lab.worker() for _ in range(3)]
    wait_until(lambda: "success" in lab.statuses().values(), what="a first job succeeds")
    workers[0].send_signal(signal.SIGKILL)
    outputs = [worker.communicate(timeout=90)[0] for worker in workers]
    assert [worker.returncode for worker in workers[1:]] == [0, 0], outputs
    assert set(lab.statuses().values()) == {"success"}
    assert_all_arrived(lab, names)


def test_a_dry_run_writes_nothing_anywhere(lab: Lab) -> None:
    fill(lab, plates=2, chunks=20)

    def tree(folder: Path) -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}

    before = tree(lab.folder)
    output = lab.transfer("--dry-run")
    assert "Dry run: enabled" in output
    assert "would send 23 file(s)" in output
    assert tree(lab.folder) == before
    assert remote_keys(plain_client(lab.env), lab.bucket) == []


def test_old_three_line_job_files_move_with_the_target_of_the_settings(lab: Lab) -> None:
    names = fill(lab, plates=1, chunks=10)
    source = plate_folder(lab.results, batch="J1", plate=names[0])
    job = lab.joblist / f"source_8__J1__{names[0]}.txt"
    job.write_text(f"todo\n{source}\n---\n")
    lab.transfer(BULKHAUL_TARGET=lab.target)
    assert set(lab.statuses().values()) == {"success"}
    assert_all_arrived(lab, names)
