"""Array tasks that end amid their work for good: cancelled, killed, out of memory. Nothing they had stays behind."""

from __future__ import annotations

import os
import signal
import time

import pytest

from e2e.arrays import (
    LONG,
    SCAN,
    Door,
    assert_all_done,
    await_take_over,
    configure,
    generations,
    history,
    holders,
    logs,
    obstore,
    plate_of,
    portable,
    submit,
)
from e2e.lab import Lab, wait_until
from servers.slurm import SlurmCluster
from servers.stub_s3 import StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slurm, pytest.mark.slow]


@obstore
def test_one_cancelled_task_gives_its_job_back_at_once_and_the_other_does_it(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=2, chunks=60)
    door = Door(front)
    job = submit(slurm_cluster, lab, configure(lab, front, ttl=LONG, heartbeat=2), "--array=0-1")
    door.wait(2)
    given_back = holders(lab)[f"{job}_0"]
    slurm_cluster.run("scancel", f"{job}_0")
    slurm_cluster.await_state(f"{job}_0", "COMPLETING", "CANCELLED")
    door.open(plate_of(given_back))
    assert slurm_cluster.await_state(f"{job}_0") == "CANCELLED"
    assert lab.statuses()[given_back] == "todo", logs(lab)
    assert history(lab, given_back) == ["claim", "released"]
    assert len(holders(lab)) == 1, "the other task's job was touched"
    door.open()
    assert slurm_cluster.await_state(f"{job}_1") == "COMPLETED", logs(lab)
    assert_all_done(lab, plates, **{plate: 4 if plate == plate_of(given_back) else 2 for plate in plates})
    assert slurm_cluster.states(job) == {f"{job}_0": "CANCELLED", f"{job}_1": "COMPLETED"}


@portable
def test_a_cancelled_array_gives_everything_back_and_a_later_one_goes_on(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=3, chunks=60)
    door = Door(front)
    env = configure(lab, front, ttl=LONG, heartbeat=2)
    job = submit(slurm_cluster, lab, env, "--array=0-2%2")
    door.wait(2)
    slurm_cluster.run("scancel", job)
    slurm_cluster.await_state(f"{job}_0", "COMPLETING", "CANCELLED")
    door.open()
    for task in (f"{job}_0", f"{job}_1", f"{job}_2"):
        assert slurm_cluster.await_state(task) == "CANCELLED"
    assert set(lab.statuses().values()) == {"todo"}, logs(lab)
    assert sorted(history(lab, each) for each in lab.statuses()) == [[], ["claim", "released"], ["claim", "released"]]
    front.log.clear()
    later = submit(slurm_cluster, lab, env, "--array=0")
    assert slurm_cluster.await_state(f"{later}_0") == "COMPLETED", logs(lab)
    assert_all_done(lab, plates)
    # Of two plates 20 files each had arrived, and are not sent again.
    assert front.log.counts()["PutObject"] <= 3 * 63 - 2 * 20 + 10
    assert set(slurm_cluster.states(job).values()) == {"CANCELLED"}


@obstore
def test_a_task_that_cannot_end_in_time_is_killed_and_another_takes_over_by_slurms_word(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=1, chunks=60)
    door = Door(front)
    env = configure(lab, front, ttl=LONG, heartbeat=2)
    job = submit(slurm_cluster, lab, env, "--array=0")
    door.wait()
    # Its request hangs for longer than KillWait: SIGTERM asks in vain, SIGKILL follows.
    slurm_cluster.run("scancel", "--signal=KILL", f"{job}_0")
    assert slurm_cluster.await_state(f"{job}_0") == "CANCELLED"
    (held,) = lab.statuses()
    assert lab.statuses() == {held: "ongoing"}
    assert history(lab, held) == ["claim"]
    ended = time.monotonic()
    later = submit(slurm_cluster, lab, env, "--array=0")
    await_take_over(lab, held, after=1)
    assert time.monotonic() - ended < SCAN
    assert generations(lab, held) == 2
    door.open()
    assert slurm_cluster.await_state(f"{later}_0") == "COMPLETED", logs(lab)
    assert_all_done(lab, plates, A0001=3)


@portable
def test_a_worker_killed_for_its_memory_fails_its_task_and_another_takes_over(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=2, chunks=60)
    door = Door(front)
    job = submit(slurm_cluster, lab, configure(lab, front, ttl=LONG, heartbeat=2), "--array=0-1", "--requeue")
    door.wait(2)
    orphan = holders(lab)[f"{job}_0"]
    # What the kernel does to the largest process of a task that is over its memory.
    (worker,) = slurm_cluster.processes(f"{job}_0", program="04_transfer_plates")
    os.kill(worker, signal.SIGKILL)
    assert slurm_cluster.await_state(f"{job}_0") == "FAILED"
    ended = time.monotonic()
    door.open()
    await_take_over(lab, orphan, after=1)
    assert time.monotonic() - ended < SCAN
    assert slurm_cluster.await_state(f"{job}_1") == "COMPLETED", logs(lab)
    assert_all_done(lab, plates, **{plate_of(orphan): 3})
    assert slurm_cluster.states(job)[f"{job}_0"] == "FAILED", "a task that ran out of memory was started again"


@obstore
def test_a_worker_that_outlives_its_task_loses_its_job_to_another_and_touches_nothing_more(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=1, chunks=60)
    door = Door(front)
    env = configure(lab, front, ttl=LONG, heartbeat=2)
    job = submit(slurm_cluster, lab, env, "--array=0")
    door.wait()
    # SLURM ends the script alone, and without cgroups nothing ends the script's processes: SLURM's word is wrong.
    slurm_cluster.run("scancel", "--batch", "--signal=KILL", f"{job}_0")
    assert slurm_cluster.await_state(f"{job}_0") in ("FAILED", "CANCELLED")
    (stray,) = slurm_cluster.processes(f"{job}_0", program="04_transfer_plates")
    try:
        (orphan,) = lab.statuses()
        later = submit(slurm_cluster, lab, env, "--array=0")
        await_take_over(lab, orphan, after=1)
        assert slurm_cluster.processes(f"{job}_0", program="04_transfer_plates") == [stray], "both are at work at once"
        door.open()
        assert slurm_cluster.await_state(f"{later}_0") == "COMPLETED", logs(lab)
        ended = f"/proc/{stray}/stat"
        wait_until(lambda: not os.path.exists(ended), what="the stray worker ends by itself")  # noqa: PTH110
    finally:
        slurm_cluster.kill(f"{job}_0")
    assert_all_done(lab, plates, A0001=3)
