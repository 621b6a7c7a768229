"""The figure of dead SLURM tasks in small: SLURM's word brings a take-over within a scan, and nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from e2e.arrays import SCAN
from faults.figures.dead_task import KILLED, Times, Trial, judge, new_lab, run_together
from servers.seaweed import ADMIN, Seaweed
from servers.slurm import SlurmCluster
from servers.stub_s3 import Front, StubS3


def test_late_or_missing_take_overs_are_failures() -> None:
    figure = judge({KILLED: [1.0, SCAN, SCAN + 0.1, None], "node crashed": []}, seed=7)
    assert (figure.trials, figure.failures, figure.seed) == (4, 2, 7)
    assert figure.facts[f"{KILLED}: p50, s"] == SCAN
    assert figure.facts[f"{KILLED}: p100, s"] == 30.1


@pytest.mark.slow
def test_a_dead_tasks_job_is_taken_over_within_a_scan_and_not_where_slurm_gives_no_answer(
    tmp_path: Path, slurm_cluster: SlurmCluster, s3_server: Seaweed
) -> None:
    deaf = tmp_path / "bin"
    deaf.mkdir()
    squeue = deaf / "squeue"
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n")
    squeue.chmod(0o755)
    assert shutil.which("squeue", path=str(deaf))
    sound = Trial(new_lab(tmp_path / "sound", s3_server), KILLED, dies_after=1.0)
    broken = Trial(new_lab(tmp_path / "broken", s3_server), KILLED, dies_after=1.0, path=f"{deaf}:")
    with StubS3(front=Front(s3_server.url, ADMIN.access_key, ADMIN.secret_key)) as front:
        run_together([sound, broken], slurm_cluster, front, Times(ttl=90, heartbeat=2, patience=15))
    assert sound.seconds is not None
    assert sound.seconds <= SCAN
    assert broken.seconds is None, "it took over without a word of SLURM and before the lease was over"
    assert broken.lab.statuses() == {broken.job: "ongoing"}
    assert judge({KILLED: [sound.seconds, broken.seconds]}, seed=0).failures == 1
