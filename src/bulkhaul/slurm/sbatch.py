"""sbatch: run it, and turn its refusals into one clear line each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bulkhaul.errors import BulkhaulError, UsageError
from bulkhaul.slurm.client import SlurmError, call, complaint

SUBMIT_TIMEOUT = 60.0
"""Seconds for sbatch: with a full queue (MaxJobCount) it would sleep and retry for minutes."""

_DEFAULT_MAX_ARRAY_SIZE = 1001

# What sbatch says -> (whose fault, what to do). First match counts.
_REFUSALS: tuple[tuple[str, type[BulkhaulError], str], ...] = (
    ("Unable to contact", SlurmError, "try again when SLURM's controller answers (`scontrol ping`)"),
    ("Could not establish a configuration source", SlurmError, "submit from a node of the cluster, or set SLURM_CONF"),
    ("temporarily unable", SlurmError, "the queue is full: try again later"),
    ("Resource temporarily unavailable", SlurmError, "the queue is full: try again later"),
    ("invalid partition", UsageError, "choose a partition that `sinfo -s` lists"),
    ("Invalid job array specification", UsageError, "ask for fewer tasks (`scontrol show config` has MaxArraySize)"),
    ("MaxSubmitJob", UsageError, "ask for fewer tasks, or wait until some of your jobs have ended"),
    ("time limit", UsageError, "ask for less time; `sinfo -o '%P %l'` lists the partitions' limits"),
    ("Invalid account", UsageError, "choose an account that `sacctmgr show associations user=$USER` lists"),
    ("Memory specification", UsageError, "ask for less memory; `sinfo -o '%P %m'` lists what the nodes have"),
    ("CPU count", UsageError, "ask for fewer CPUs; `sinfo -o '%P %c'` lists what the nodes have"),
)
_OTHER = "change the SLURM option that it names, or ask the cluster's support"


def submit(arguments: Sequence[str], *, timeout: float = SUBMIT_TIMEOUT) -> str:
    """Run a rendered `sbatch --parsable` command and return the id of the array.

    Raises:
        UsageError: SLURM refuses an option or its value.
        SlurmError: no sbatch here, no controller, no answer in time.
    """
    try:
        answer = call(arguments, timeout=timeout)
    except SlurmError as error:
        step = "look with `squeue --me` whether it is there before you submit again"
        raise SlurmError("sbatch", error.reason, step) from error
    if answer.code == 127:
        raise SlurmError("sbatch", "not found", "submit from a node with SLURM's programs, or run the worker itself")
    if answer.code != 0:
        raise refusal(answer.stderr)
    return answer.stdout.strip().partition(";")[0]  # "ID;CLUSTER" where several clusters are served


def refusal(stderr: str) -> BulkhaulError:
    """The error for what sbatch wrote when it refused."""
    for words, kind, next_step in _REFUSALS:
        if words.lower() in stderr.lower():
            return kind("sbatch", complaint(stderr), next_step)
    return UsageError("sbatch", complaint(stderr), _OTHER)


def max_array_size() -> int:
    """The most tasks that an array may have here.

    Raises:
        SlurmError: the controller does not answer.
    """
    answer = call(["scontrol", "show", "config"])
    if answer.code != 0:
        raise SlurmError("scontrol", complaint(answer.stderr), "submit from a node of the cluster, or set SLURM_CONF")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer.stdout, re.MULTILINE)
    return int(found[1]) if found else _DEFAULT_MAX_ARRAY_SIZE
