"""A joblist on a disk that is full or fills up: one line, the right code, whole files, and afterwards it goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.bad_input import EXTRACT, SUMMARISE, TRANSFER, all_refused, assert_whole, state, the_complaint
from e2e.lab import Lab, job_name, plate_folder, write_plate
from e2e.oracle import assert_plates_arrived
from e2e.turnstile import amid_files, front_env, worker_held
from servers.disk import fill_blocks, fill_inodes, make_room, remount, small_file_system
from servers.stub_s3 import StubS3

pytestmark = pytest.mark.s3

LIMITS = pytest.mark.parametrize(("roomy", "exhaust"), [("size=2m", fill_blocks), ("nr_inodes=150", fill_inodes)])


@pytest.mark.parametrize("tight", ["size=60k", "nr_inodes=14"])
def test_a_disk_that_fills_up_during_the_extraction(lab: Lab, tight: str) -> None:
    for number in range(20):
        write_plate(plate_folder(lab.results, batch="J1", plate=f"A{number:04d}"), chunks=1, seed=number)
    with small_file_system(lab.joblist, options=tight):
        command = (EXTRACT, "-i", lab.results, "-o", lab.joblist, "--target", lab.target)
        line = the_complaint(lab.run(*command, expect=74))
        assert "No space left on device; free space there, then run the same command again" in line
        made = state(lab.joblist)
        assert 0 < len(lab.statuses()) < 20
        assert_whole(lab.joblist)
        remount(lab.joblist, options="size=1m,nr_inodes=100")
        lab.extract()
        assert set(lab.statuses().values()) == {"todo"}
        assert len(lab.statuses()) == 20
        assert {name: data for name, data in state(lab.joblist).items() if name in made} == made


def test_a_report_that_finds_no_room_is_no_traceback(lab: Lab) -> None:
    lab.fill(plates=1)
    with Path("/dev/full").open("w") as full:
        command = lab.command(SUMMARISE, "-i", lab.joblist, "--json")
        done = subprocess.run(command, env=lab.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 74
    assert "standard output: No space left on device" in the_complaint(done.stderr)


def test_a_log_that_finds_no_room_changes_no_exit_code(lab: Lab) -> None:
    lab.fill(plates=1)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(lab.command(TRANSFER, "-i", lab.joblist), env=lab.env, stdout=full, stderr=full)
    assert done.returncode == 0
    assert set(lab.statuses().values()) == {"success"}


@LIMITS
def test_a_worker_on_a_full_disk_takes_no_job(lab: Lab, roomy: str, exhaust: Callable[[Path], None]) -> None:
    with small_file_system(lab.joblist, options=roomy):
        lab.fill()
        exhaust(lab.joblist)
        (line,) = all_refused([(lab, (TRANSFER,))], expect=74, env={})
        assert "No space left on device" in line
        assert "Todo jobs: 2" in lab.run(SUMMARISE, "-i", lab.joblist)
        make_room(lab.joblist)
        lab.transfer()
        assert set(lab.statuses().values()) == {"success"}
    assert_plates_arrived(lab, "A0001", "A0002")


@LIMITS
def test_a_disk_that_fills_up_under_a_worker(
    lab: Lab, front: StubS3, roomy: str, exhaust: Callable[[Path], None]
) -> None:
    with small_file_system(lab.joblist, options=roomy):
        lab.fill(plates=1, chunks=300)
        with worker_held(lab, amid_files(front), env=front_env(front), expect=74) as stopped:
            exhaust(lab.joblist)
        assert "No space left on device" in the_complaint(stopped.said)
        # What it could not give back for want of room, the next worker takes over.
        assert set(lab.statuses().values()) <= {"ongoing", "todo"}
        assert_whole(lab.joblist)
        make_room(lab.joblist)
        lab.transfer()
        assert lab.statuses() == {job_name("A0001"): "success"}
    assert_plates_arrived(lab, "A0001")
