"""`submit`: the SLURM array for a joblist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bulkhaul.cli import options as o
from bulkhaul.cli.render import end, say_start
from bulkhaul.errors import OK, UsageError
from bulkhaul.messages import Mark, Message, Say

if TYPE_CHECKING:
    from bulkhaul.joblist.summary import Summary
    from bulkhaul.settings import Settings
    from bulkhaul.slurm.array import Submission


def register(app: typer.Typer) -> None:
    """Add this group's commands to `app`."""
    o.command(app, "submit", example="bulkhaul submit -i ./source08 --array-size 8 --time 12:00:00 --dry-run")(submit)


def submit(
    input_path: o.InputJoblist = None,
    verbosity: o.Verbosity = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the sbatch command; submit nothing.")] = False,
    array_size: Annotated[
        int | None, typer.Option("--array-size", min=1, help="Tasks. Default: as fits the joblist.")
    ] = None,
    throttle: Annotated[int | None, typer.Option("--throttle", min=1, help="Most tasks that run at once.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="Time limit of a task, as sbatch takes it.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="Partition of the cluster.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Account to charge.")] = None,
    sbatch_option: Annotated[
        list[str] | None, typer.Option("--sbatch-option", help="One more word for sbatch, `--qos=long`; repeatable.")
    ] = None,
    max_bandwidth: o.MaxBandwidth = None,
    max_requests: o.MaxRequests = None,
    joblist_max_bandwidth: o.JoblistMaxBandwidth = None,
    joblist_max_requests: o.JoblistMaxRequests = None,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Submit a SLURM array of workers that fits the joblist."""
    from bulkhaul.joblist.summary import summarise_joblist
    from bulkhaul.slurm.array import ArraySpec, submit_array

    settings, folder, say = o.open_joblist(
        input_path,
        verbosity=verbosity,
        config=config,
        as_json=as_json,
        slurm_array_size=array_size,
        slurm_throttle=throttle,
        slurm_time=time,
        slurm_partition=partition,
        slurm_account=account,
        slurm_options=sbatch_option or None,
        max_bandwidth=max_bandwidth,
        max_requests=max_requests,
        joblist_max_bandwidth=joblist_max_bandwidth,
        joblist_max_requests=joblist_max_requests,
    )
    _refuse_a_command_of_this_shell(settings)
    say_start(say, dry_run=dry_run, verbosity=verbosity)
    spec = ArraySpec(
        joblist=folder,
        size=settings.slurm_array_size,
        throttle=settings.slurm_throttle,
        time=settings.slurm_time,
        partition=settings.slurm_partition,
        account=settings.slurm_account,
        options=settings.slurm_options,
        config=settings.file,
        variables=settings.given_as_variables(
            "max_bandwidth", "max_requests", "joblist_max_bandwidth", "joblist_max_requests"
        ),
    )
    counts = summarise_joblist(folder, dry_run=True)  # the array's workers repair what lags
    # What is `ongoing` may belong to workers that died: the array is there for it too.
    submission = submit_array(spec, todo=counts.todo + counts.ongoing, dry_run=dry_run)
    _say_left_out(say, counts)
    _say_submission(say, submission)
    end(submission, exit_code=OK, as_json=as_json)


def _refuse_a_command_of_this_shell(settings: Settings) -> None:
    """The variable stays here, since SLURM would store it, and each task would end for want of it."""
    if settings.credentials == "command" and settings.origin("credential_command").startswith("env"):
        step = "write `credential_command = [...]` into bulkhaul.toml, which the tasks read"
        raise UsageError("credential_command", "set in this shell only, and never handed to SLURM", step)


def _say_left_out(say: Say, counts: Summary) -> None:
    """The jobs that no worker of the array will claim."""
    if counts.invalid:
        text = f"{counts.invalid} job file(s) are not valid and never claimed; `bulkhaul summarise` tells why"
        say(Message(Mark.WARNING, text))
    if counts.unproven:
        say(Message(Mark.WARNING, f"{counts.unproven} job(s) are unproven; `bulkhaul retry --unproven` sends them"))


def _say_submission(say: Say, submission: Submission) -> None:
    for note in submission.notes:
        say(Message(Mark.WARNING, note))
    if submission.command:
        say(Message(Mark.INFO, f"Command: {submission.command_line}"))
        say(Message(Mark.INFO, f"Log files: {submission.log}"))
    if submission.slurm_job_id is not None:
        say(Message(Mark.DONE, f"Submitted array {submission.slurm_job_id} with {submission.size} task(s)."))
