"""Arrays beside each other, nodes that lose power and come back, a controller that is away: all of it is done once."""

from __future__ import annotations

import os
import signal
import time

import pytest

from e2e.arrays import (
    LONG,
    Door,
    assert_all_done,
    await_take_over,
    configure,
    history,
    holders,
    logs,
    obstore,
    plate_of,
    portable,
    records,
    submit,
)
from e2e.lab import Lab, wait_until
from servers.slurm import SlurmCluster
from servers.stub_s3 import StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slurm, pytest.mark.slow]


@obstore
def test_two_arrays_on_one_joblist_do_each_job_once_and_a_late_task_goes_home_at_once(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=6, chunks=30)
    door = Door(front, free=5)
    env = configure(lab, front, ttl=LONG, heartbeat=2)
    arrays = [submit(slurm_cluster, lab, env, "--array=0-1"), submit(slurm_cluster, lab, env, "--array=0-2%2")]
    door.wait(4)
    assert len(holders(lab)) == 4, "four tasks of two arrays are at work at once"
    door.open()
    for task in (f"{array}_{index}" for array in arrays for index in (0, 1)):
        assert slurm_cluster.await_state(task) == "COMPLETED", logs(lab)
    # It waited for a place; there is nothing left for it, and no lease to be waited for.
    late = f"{arrays[1]}_2"
    assert slurm_cluster.await_state(late) == "COMPLETED", logs(lab)
    assert_all_done(lab, plates, **dict.fromkeys(plates, 2))
    later = submit(slurm_cluster, lab, env, "--array=0")
    assert slurm_cluster.await_state(f"{later}_0") == "COMPLETED", logs(lab)
    assert slurm_cluster.show(f"{later}_0")["ExitCode"] == "0:0"
    minutes, seconds = slurm_cluster.show(f"{later}_0")["RunTime"].split(":")[1:]
    assert 60 * int(minutes) + int(seconds) < LONG / 3, "it waited for somebody"
    assert "Nothing left to claim: 0 job(s) succeeded, 0 failed" in (lab.folder / f"slurm-{later}_0.out").read_text()


@portable
def test_the_tasks_of_a_node_that_loses_power_run_again_elsewhere_and_know_their_own_dead(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=2, chunks=60)
    door = Door(front)
    env = configure(lab, front, ttl=LONG, heartbeat=2)
    submit(slurm_cluster, lab, env, "--array=0-1")
    door.wait(2)
    mine = holders(lab)
    nodes = {slurm_cluster.show(task)["BatchHost"]: task for task in mine}
    assert set(nodes) == {"node1", "node2"}
    orphan, kept = mine[nodes["node1"]], mine[nodes["node2"]]
    try:
        slurm_cluster.crash("node1")
        await_take_over(lab, orphan, after=1)
        assert slurm_cluster.show(nodes["node1"])["BatchHost"] == "node2"
    finally:
        slurm_cluster.boot("node1")
    successor = records(lab, orphan)[2]["owner"]["slurm"]
    assert f"{successor['array_job_id']}_{successor['array_task']}" == nodes["node1"]
    assert successor["restart_count"] == 1
    assert history(lab, kept) == ["claim"], "the job of a task that lived was taken"
    door.cut()
    for task in nodes.values():
        assert slurm_cluster.await_state(task) == "COMPLETED", logs(lab)
    assert_all_done(lab, plates, **{plate_of(orphan): 3})
    # The node that came back takes part again.
    later = submit(slurm_cluster, lab, env, "--array=0", "--nodelist=node1")
    assert slurm_cluster.await_state(f"{later}_0") == "COMPLETED", logs(lab)


@obstore
def test_while_the_controller_is_down_workers_work_on_and_take_nothing_from_the_living(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=2, chunks=60)
    door = Door(front)
    job = submit(slurm_cluster, lab, configure(lab, front, ttl=LONG, heartbeat=2), "--array=0-1")
    door.wait(2)
    mine = holders(lab)
    first, second = f"{job}_0", f"{job}_1"
    slurm_cluster.silence()
    try:
        door.open(plate_of(mine[first]))
        # It looks for more, asks SLURM about the other's owner, gets no answer, sees that one live, and goes home.
        wait_until(lambda: not slurm_cluster.processes(first), what="the first worker ends without a controller")
        assert lab.statuses() == {mine[first]: "success", mine[second]: "ongoing"}, logs(lab)
        assert history(lab, mine[second]) == ["claim"]
    finally:
        slurm_cluster.resume()
    assert slurm_cluster.await_state(first) == "COMPLETED"
    assert slurm_cluster.states(job)[second] == "RUNNING"
    door.open()
    assert slurm_cluster.await_state(second) == "COMPLETED", logs(lab)
    assert_all_done(lab, plates, **dict.fromkeys(plates, 2))


@portable
def test_a_controller_that_hangs_proves_nothing_and_keeps_nobody_for_ever(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    lease = 3.0
    plates = lab.fill(plates=2, chunks=60)
    door = Door(front)
    job = submit(slurm_cluster, lab, configure(lab, front, ttl=lease, heartbeat=0.5), "--array=0-1")
    door.wait(2)
    mine = holders(lab)
    assert {slurm_cluster.show(task)["BatchHost"] for task in mine} == {"node1", "node2"}
    first, second = f"{job}_0", f"{job}_1"
    controller = slurm_cluster.controller_pid
    os.kill(controller, signal.SIGSTOP)
    try:
        slurm_cluster.kill(first)
        died = time.monotonic()
        door.cut()
        await_take_over(lab, mine[first], after=1)
        assert time.monotonic() - died >= lease, "it was taken before its lease was over"
        wait_until(lambda: not slurm_cluster.processes(second), what="the other worker ends")
        assert set(lab.statuses().values()) == {"success"}, logs(lab)
    finally:
        os.kill(controller, signal.SIGCONT)
    assert slurm_cluster.await_state(second) == "COMPLETED", logs(lab)
    assert slurm_cluster.await_state(first) == "FAILED"
    assert_all_done(lab, plates, **{plate_of(mine[first]): 3, plate_of(mine[second]): 2})


@obstore
def test_a_controller_that_was_killed_may_start_tasks_twice_and_each_job_is_done_once(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=4, chunks=60)
    door = Door(front)
    env = configure(lab, front, ttl=6, heartbeat=1)
    job = submit(slurm_cluster, lab, env, "--array=0-3")
    tasks = [f"{job}_{index}" for index in range(4)]
    door.wait(4)
    slurm_cluster.kill_controller()
    slurm_cluster.resume()
    # It may know that they run, or end them as strangers and start them anew, under the same restart count or another.
    time.sleep(2)
    door.open()
    wait_until(lambda: not any(map(slurm_cluster.processes, tasks)), what="all that ran has ended")
    slurm_cluster.run("scancel", job)
    slurm_cluster.resume()  # a node that got the same task twice is drained
    later = submit(slurm_cluster, lab, env, "--array=0")
    assert slurm_cluster.await_state(f"{later}_0", patience=90) == "COMPLETED", logs(lab)
    assert_all_done(lab, plates)
