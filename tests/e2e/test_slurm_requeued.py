"""Array tasks that SLURM ends amid their work and starts again, or ends at their time limit: all of it is done once."""

from __future__ import annotations

import pytest

from e2e.arrays import (
    LONG,
    Door,
    assert_all_done,
    configure,
    history,
    holders,
    logs,
    plate_of,
    records,
    submit,
)
from e2e.lab import Lab, plate_folder, wait_until, write_plate
from e2e.large import ALL_PARTS, PART, PARTS, parts_by_upload
from servers.slurm import SlurmCluster
from servers.stub_s3 import StubS3

pytestmark = [pytest.mark.s3, pytest.mark.slurm, pytest.mark.slow]


@pytest.mark.parametrize("engine", ["obstore"])
def test_tasks_pushed_out_of_their_nodes_go_on_with_what_they_had(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    plates = lab.fill(plates=4, chunks=60)
    door = Door(front)
    job = submit(slurm_cluster, lab, configure(lab, front, ttl=LONG, heartbeat=2), "--array=0-3")
    tasks = [f"{job}_{index}" for index in range(4)]
    door.wait(4)
    mine = holders(lab)
    at = {
        node: [task for task in tasks if slurm_cluster.show(task)["BatchHost"] == node] for node in ("node1", "node2")
    }
    assert [len(each) for each in at.values()] == [2, 2]
    # One node is wanted whole by a job of a partition that goes first; the other's tasks are requeued by an operator.
    urgent = ("--partition=urgent", "--nodelist=node1", "--cpus-per-task=4", "--wrap=true", "--output=/dev/null")
    slurm_cluster.run("sbatch", *urgent)
    for task in at["node2"]:
        slurm_cluster.run("scontrol", "requeue", task)
    for task in tasks:
        slurm_cluster.await_state(task, "COMPLETING", "PENDING")
    # Of each node the second one's request hangs for longer than KillWait: it dies with its job.
    in_time, too_late = ([mine[pair[place]] for pair in at.values()] for place in (0, 1))
    door.open(*map(plate_of, in_time))
    for task in tasks:
        slurm_cluster.await_state(task, "PENDING")
    assert lab.statuses() == dict.fromkeys(in_time, "todo") | dict.fromkeys(too_late, "ongoing"), logs(lab)
    assert [history(lab, name) for name in in_time] == [["claim", "released"]] * 2
    assert [history(lab, name) for name in too_late] == [["claim"]] * 2
    door.cut()
    for task in tasks:
        assert slurm_cluster.await_state(task) == "COMPLETED", logs(lab)
        assert slurm_cluster.show(task)["Restarts"] == "1"
    last = {plate_of(name): 4 for name in in_time} | {plate_of(name): 3 for name in too_late}
    assert_all_done(lab, plates, **last)
    for name in mine.values():
        assert {record["owner"]["slurm"]["restart_count"] for record in records(lab, name).values()} == {1}


@pytest.mark.parametrize("engine", ["s3transfer"])
def test_a_time_signal_has_the_task_go_on_and_a_limit_without_one_ends_it(
    lab: Lab, slurm_cluster: SlurmCluster, front: StubS3
) -> None:
    """SLURM looks at limits twice a minute: all three tasks here meet theirs in the same look."""
    parts, door = Door(front, free=5, operation="UploadPart"), Door(front)
    env = configure(lab, front, concurrency=4, ttl=LONG, heartbeat=2, parts="5MiB")
    (large,) = lab.fill(plates=1, chunks=3, large=PART * PARTS - 1)
    signalled = submit(slurm_cluster, lab, env, "--array=0", "--time=10") + "_0"
    parts.wait()
    for seed, plate in enumerate(("A0002", "A0003")):
        write_plate(plate_folder(lab.results, batch="J1", plate=plate), chunks=60, seed=seed)
    lab.extract()
    cut_off = submit(slurm_cluster, lab, env, "--array=0-1", "--time=10", "--signal=B:CONT@1")
    door.wait(2)
    mine = holders(lab)
    in_time, too_late = plate_of(mine[f"{cut_off}_0"]), plate_of(mine[f"{cut_off}_1"])

    # All believe in ten minutes. The signal comes 300 s before the end; the others' end comes without one.
    for task, end in ((signalled, "now+200"), (f"{cut_off}_0", "now+1"), (f"{cut_off}_1", "now+1")):
        slurm_cluster.run("scontrol", "update", f"JobId={task}", f"EndTime={end}")
    slurm_cluster.await_state(f"{cut_off}_0", "COMPLETING", "TIMEOUT")
    door.open(in_time)
    for task in (f"{cut_off}_0", f"{cut_off}_1"):
        assert slurm_cluster.await_state(task) == "TIMEOUT"
    wait_until(lambda: len(records(lab, mine[signalled])) == 2, what="the large file's job is given back")
    assert "SIGUSR1" in records(lab, mine[signalled])[2]["text"]
    (parked,) = parts_by_upload(front)
    assert len(parked) == len(set(parked)) == 5, "parts that were held arrived, or one did twice"
    assert "SIGTERM" in records(lab, mine[f"{cut_off}_0"])[2]["text"]
    assert records(lab, mine[f"{cut_off}_1"])[1]["kind"] == "claim"
    parts.cut()
    door.cut()

    wait_until(lambda: slurm_cluster.show(signalled)["Restarts"] == "1", what="the signalled task is requeued")
    assert slurm_cluster.await_state(signalled) == "COMPLETED", logs(lab)
    assert {slurm_cluster.show(f"{cut_off}_{index}")["Restarts"] for index in (0, 1)} == {"0"}
    assert set(slurm_cluster.states(cut_off).values()) == {"TIMEOUT"}
    # The requeued task adopted its parts, and did what the others had left.
    assert_all_done(lab, [large, in_time, too_late], **{large: 4, in_time: 4, too_late: 3})
    assert parts_by_upload(front) == [ALL_PARTS]
