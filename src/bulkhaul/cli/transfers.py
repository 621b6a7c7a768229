"""`transfer` and `verify`: the steps that talk to S3 about whole joblists."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from bulkhaul.cli import options as o
from bulkhaul.cli.progress import shown_progress
from bulkhaul.cli.render import end, say_start


def register(app: typer.Typer) -> None:
    """Add this group's commands to `app`."""
    o.command(app, "transfer", example="bulkhaul transfer -i ./source08 --verbosity 1")(transfer)
    o.command(app, "verify", example="bulkhaul verify -i ./source08 --sync-level checksum")(verify)


def transfer(
    input_path: o.InputJoblist = None,
    verbosity: o.Verbosity = 1,
    dry_run: o.DryRun = False,
    engine: o.EngineName = None,
    sync_level: o.SyncLevelName = None,
    max_bandwidth: o.MaxBandwidth = None,
    max_requests: o.MaxRequests = None,
    joblist_max_bandwidth: o.JoblistMaxBandwidth = None,
    joblist_max_requests: o.JoblistMaxRequests = None,
    deadline: Annotated[
        datetime | None,
        typer.Option("--deadline", help="Stop in time for this moment (local time). Default: SLURM's time limit."),
    ] = None,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Claim and transfer the datasets of a joblist, one at a time, until none is left."""
    from bulkhaul.assembly import connector, lease_times, target_finder, transfer_options

    settings, folder, say = o.open_joblist(
        input_path,
        verbosity=verbosity,
        config=config,
        as_json=as_json,
        engine=engine,
        sync_level=sync_level,
        max_bandwidth=max_bandwidth,
        max_requests=max_requests,
        joblist_max_bandwidth=joblist_max_bandwidth,
        joblist_max_requests=joblist_max_requests,
    )
    say_start(say, dry_run=dry_run, verbosity=verbosity)
    lease, options = lease_times(settings), transfer_options(settings)
    connect, target_of = connector(settings), target_finder(settings)
    if dry_run:
        from bulkhaul.rehearsal import rehearse_joblist

        plans = rehearse_joblist(folder, connect=connect, target_of=target_of, options=options, say=say)
        end(plans, exit_code=plans.exit_code, as_json=as_json)
    from bulkhaul.worker import transfer_joblist

    with shown_progress(quiet=verbosity == 0) as show:
        report = transfer_joblist(
            folder,
            lease=lease,
            connect=connect,
            target_of=target_of,
            options=options,
            deadline=None if deadline is None else deadline.astimezone(),
            say=say,
            show=show,
        )
    end(report, exit_code=report.exit_code, as_json=as_json)


def verify(
    input_path: o.InputJoblist = None,
    verbosity: o.Verbosity = 1,
    reset: Annotated[bool, typer.Option("--reset", help="Set jobs that fail back to `todo`.")] = False,
    sync_level: o.SyncLevelName = None,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Compare finished jobs with S3 again, without downloading; name each file that differs."""
    from bulkhaul.assembly import connector, target_finder
    from bulkhaul.audit import verify_joblist
    from bulkhaul.transfer.terms import SyncLevel

    settings, folder, say = o.open_joblist(
        input_path, verbosity=verbosity, config=config, as_json=as_json, sync_level=sync_level
    )
    report = verify_joblist(
        folder,
        connect=connector(settings),
        target_of=target_finder(settings),
        sync_level=SyncLevel(settings.sync_level),
        reset=reset,
        say=say,
    )
    end(report, exit_code=report.exit_code, as_json=as_json)
