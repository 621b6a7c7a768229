"""The main job from results folder to S3 with real processes: fresh, again, killed and resumed, by both engines."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from e2e.bad_input import assert_no_secret, assert_whole
from e2e.lab import Lab, job_name, plate_folder, plate_key, wait_until, write_plate
from e2e.oracle import assert_plates_arrived, plain_client, read_manifest, remote_keys
from e2e.turnstile import Turnstile, amid_files, front_env, is_probe, worker_held
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3

MIB = 1 << 20


def assert_all_arrived(lab: Lab, names: list[str]) -> None:
    """The plates are in S3, and beside each its manifest, equal to the joblist's, with a record of each file."""
    assert_plates_arrived(lab, *names)
    client = plain_client(lab.env)
    for name in names:
        key = plate_key(batch="J1", plate=name) + ".manifest.jsonl.gz"
        data = client.get_object(Bucket=lab.bucket, Key=key)["Body"].read()
        assert data == (lab.joblist / f"{job_name(name)}.manifest.jsonl.gz").read_bytes()
        source = plate_folder(lab.results, batch="J1", plate=name)
        assert len(read_manifest(data)) == sum(1 for path in source.rglob("*") if path.is_file())


def test_a_fresh_joblist_arrives_whole_and_a_second_run_finds_nothing_to_do(lab: Lab, engine: str) -> None:
    names = lab.fill(plates=3, chunks=120, large=40 * MIB if engine == "obstore" else 20 * MIB)
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


def test_kill_9_then_resume_and_a_third_run_sends_nothing(lab: Lab, front: StubS3, engine: str) -> None:
    names = lab.fill(plates=2, chunks=250, large=24 * MIB)
    held = amid_files(front)
    worker = lab.worker("--engine", engine, **front_env(front))
    held.wait()
    held.kill(worker)
    assert "ongoing" in lab.statuses().values()
    lab.transfer("--engine", engine)
    assert set(lab.statuses().values()) == {"success"}
    assert_all_arrived(lab, names)

    before = written_at(lab)
    lab.type_todo()
    report = json.loads(lab.run("04_transfer_plates.py", "-i", lab.joblist, "--engine", engine, "--json"))
    assert sorted(report["succeeded"]) == [job_name(name) for name in names]
    assert report["files_sent"] == 0
    assert set(lab.statuses().values()) == {"success"}
    assert written_at(lab) == before


def test_a_worker_stopped_by_sigterm_gives_its_job_back(lab: Lab, front: StubS3) -> None:
    names = lab.fill(plates=1, chunks=500)
    with worker_held(lab, amid_files(front), env=front_env(front), expect=75) as stopped:
        stopped.worker.send_signal(signal.SIGTERM)
    job = job_name(names[0])
    assert lab.statuses() == {job: "todo"}
    assert "SIGTERM" in (lab.joblist / f"{job}.txt").read_text()
    lab.transfer()
    assert_all_arrived(lab, names)


def test_ctrl_c_ends_with_130_and_gives_the_job_back(lab: Lab, front: StubS3) -> None:
    names = lab.fill(plates=1, chunks=500)
    with worker_held(lab, amid_files(front), env=front_env(front), expect=130) as stopped:
        stopped.worker.send_signal(signal.SIGINT)
    assert lab.statuses() == {job_name(names[0]): "todo"}


def test_three_workers_share_a_joblist_while_one_is_killed(lab: Lab) -> None:
    names = lab.fill(plates=9, chunks=150)
    workers = [lab.worker() for _ in range(3)]
    wait_until(lambda: "success" in lab.statuses().values(), what="a first job succeeds")
    workers[0].send_signal(signal.SIGKILL)
    outputs = [worker.communicate(timeout=90)[0] for worker in workers]
    assert [worker.returncode for worker in workers[1:]] == [0, 0], outputs
    assert set(lab.statuses().values()) == {"success"}
    assert_all_arrived(lab, names)


def left_by_probes(client: Any, bucket: str) -> list[str]:
    """The keys of objects and of multipart uploads that stand."""
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    return list(filter(is_probe, [*remote_keys(client, bucket), *(upload["Key"] for upload in uploads)]))


@pytest.mark.parametrize(
    ("operation", "free"),
    [("PutObject", 2), ("HeadObject", 0), ("UploadPart", 0), ("DeleteObject", 0), ("DeleteObject", 1)],
)
def test_what_a_worker_killed_in_its_probe_left_is_removed_by_the_next(
    lab: Lab, front: StubS3, operation: str, free: int, engine: str
) -> None:
    names = lab.fill(plates=1, chunks=10)
    held = Turnstile(front, operation, fits=lambda request: is_probe(request.key), free=free)
    worker = lab.worker(**front_env(front))
    held.wait()
    held.kill(worker)
    client = plain_client(lab.env)
    assert left_by_probes(client, lab.bucket), "the kill left nothing: this proves nothing"
    lab.transfer()
    assert_all_arrived(lab, names)
    assert left_by_probes(client, lab.bucket) == []
    assert [path.name for path in (lab.joblist / ".bulkhaul/probe").iterdir()] == [f"{lab.bucket}.json"]


def test_a_dry_run_writes_nothing_anywhere(lab: Lab) -> None:
    lab.fill(plates=2, chunks=20)

    def tree(folder: Path) -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}

    before = tree(lab.folder)
    output = lab.transfer("--dry-run")
    assert "Dry run: enabled" in output
    assert "would send 23 file(s)" in output
    assert tree(lab.folder) == before
    assert remote_keys(plain_client(lab.env), lab.bucket) == []


def test_old_three_line_job_files_move_with_the_target_of_the_settings(lab: Lab) -> None:
    names = lab.fill(plates=1, chunks=10)
    source = plate_folder(lab.results, batch="J1", plate=names[0])
    job = lab.joblist / f"{job_name(names[0])}.txt"
    job.write_text(f"todo\n{source}\n---\n")
    lab.transfer(BULKHAUL_TARGET=lab.target)
    assert set(lab.statuses().values()) == {"success"}
    assert_all_arrived(lab, names)


def test_two_extractions_and_two_workers_at_once_make_and_move_each_job_once(lab: Lab) -> None:
    plates = [f"A{number:04d}" for number in range(1, 13)]
    for seed, plate in enumerate(plates):
        write_plate(plate_folder(lab.results, batch="J1", plate=plate), chunks=5, seed=seed)
    command = ("-i", lab.results, "-o", lab.joblist, "--target", lab.target, "--json")
    reports = [json.loads(said) for said in _both(lab, "01_extract_joblist.py", *command)]
    created = sorted(name for report in reports for name in report["created"])
    assert created == [job_name(plate) for plate in plates]
    assert lab.statuses() == dict.fromkeys(created, "todo")

    reports = [json.loads(said) for said in _both(lab, "04_transfer_plates.py", "-i", lab.joblist, "--json")]
    assert sorted(name for report in reports for name in report["succeeded"]) == created
    assert lab.statuses() == dict.fromkeys(created, "success")
    assert_whole(lab.joblist)
    assert_no_secret(lab, json.dumps(reports))
    assert_plates_arrived(lab, *plates)


def _both(lab: Lab, script: str, *arguments: object) -> list[str]:
    """What two of `script`, started at once, said; both end well."""
    started = [lab.start(script, *arguments) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    return [output for output, _ in said]
