"""`extract`, `check`, `summarise`, `retry`: making a joblist and looking after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from bulkhaul.cli import options as o
from bulkhaul.cli.render import end, say_start, speaker
from bulkhaul.errors import OK, UsageError
from bulkhaul.messages import Mark, Message, Say

if TYPE_CHECKING:
    from bulkhaul.joblist.summary import Summary


def register(app: typer.Typer) -> None:
    """Add this group's commands to `app`."""
    o.command(app, "extract", example="bulkhaul extract -i /lustre/results -o ./source08 --target s3://bucket")(extract)
    o.command(app, "check", example="bulkhaul check -i ./source08")(check)
    o.command(app, "summarise", example="bulkhaul summarise -i ./source08 --json")(summarise)
    o.command(app, "retry", example="bulkhaul retry -i ./source08 source_8__J1__A1170383")(retry)


def extract(
    input_path: o.Results = None,
    output_path: o.NewJoblist = None,
    verbosity: o.Verbosity = 1,
    dry_run: o.DryRun = False,
    layout: o.LayoutName = None,
    depth: o.Depth = None,
    target: o.Target = None,
    group: Annotated[str | None, typer.Option("--group", help="Group of users that shares a new joblist.")] = None,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Scan a results folder and write one job file per dataset.

    Job files that are there already stay as they are: new datasets are added, vanished ones are reported.
    """
    from bulkhaul.assembly import dataset_layout
    from bulkhaul.extract import extract_joblist
    from bulkhaul.settings import load_settings

    options = {"results": input_path, "layout": layout, "depth": depth, "target": target, "group": group}
    settings = load_settings(options, config=config)
    report = extract_joblist(
        settings.needed("results"),
        output=None if output_path is None else output_path.absolute(),
        joblists=settings.joblists,
        layout=dataset_layout(settings),
        target=settings.target,
        group=settings.group,
        dry_run=dry_run,
        verbosity=verbosity,
        say=speaker(verbosity, as_json=as_json),
    )
    end(report, exit_code=OK, as_json=as_json)


def check(
    input_path: o.InputJoblist = None,
    verbosity: o.Verbosity = 1,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Check a joblist before it is transferred: sources, names, keys, bucket, credentials, leftovers."""
    from bulkhaul.assembly import connector, target_finder
    from bulkhaul.check.joblist import check_joblist

    settings, folder, say = o.open_joblist(input_path, verbosity=verbosity, config=config, as_json=as_json)
    report = check_joblist(folder, connect=connector(settings), target_of=target_finder(settings), say=say)
    end(report, exit_code=report.exit_code, as_json=as_json)


def summarise(
    input_path: o.InputJoblist = None,
    verbosity: o.Verbosity = 1,
    dry_run: o.DryRun = False,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Count the jobs of a joblist by status."""
    from bulkhaul.joblist.summary import summarise_joblist

    _, folder, say = o.open_joblist(input_path, verbosity=verbosity, config=config, as_json=as_json)
    say_start(say, dry_run=dry_run, verbosity=verbosity)
    summary = summarise_joblist(folder, dry_run=dry_run)
    _say_summary(say, summary)
    end(summary, exit_code=OK, as_json=as_json)


def retry(
    names: Annotated[list[str] | None, typer.Argument(help="Jobs to retry. Default: every job in `error`.")] = None,
    input_path: o.InputJoblist = None,
    unproven: Annotated[bool, typer.Option("--unproven", help="Jobs whose status no record proves, too.")] = False,
    verbosity: o.Verbosity = 1,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Set jobs in `error` back to `todo`; what has arrived already is not sent again."""
    from bulkhaul.joblist.joblist import retry_jobs

    _, folder, say = o.open_joblist(input_path, verbosity=verbosity, config=config, as_json=as_json)
    wanted = [name.removesuffix(".txt") for name in names or []]
    changed = retry_jobs(folder, wanted or None, unproven=unproven)
    left = [name for name in wanted if name not in changed]
    for name in changed:
        say(Message(Mark.INFO, f"Set back to 'todo': {name}.txt"))
    for name in left:
        text = f"{name}.txt: left as it is, it is not in `error`; to have it sent again write `todo` on its line 1"
        say(Message(Mark.FAILED, text, detail=0))
    say(Message(Mark.DONE, f"Set back {len(changed)} job(s)."))
    end(
        {"joblist": folder, "retried": changed, "left": left},
        exit_code=UsageError.exit_code if left else OK,
        as_json=as_json,
    )


def _say_summary(say: Say, summary: Summary) -> None:
    say(Message(Mark.INFO, f"Found {summary.total} job file(s)."))
    say(Message(Mark.INFO, f"Total jobs: {summary.total}"))
    say(Message(Mark.INFO, f"Todo jobs: {summary.todo}"))
    say(Message(Mark.INFO, f"Ongoing jobs: {summary.ongoing}"))
    say(Message(Mark.DONE, f"Success jobs: {summary.success}"))
    say(Message(Mark.FAILED, f"Error jobs: {summary.error}"))
    _say_jobs(say, Mark.FAILED, summary.error_jobs, detail=2)
    if summary.unproven:
        say(Message(Mark.WARNING, f"Unproven jobs: {summary.unproven} (`bulkhaul retry --unproven` sets them to todo)"))
        _say_jobs(say, Mark.WARNING, summary.unproven_jobs, detail=1)
    if summary.invalid:
        say(Message(Mark.WARNING, f"Invalid job files: {summary.invalid} (never claimed; correct or remove them)"))
        _say_jobs(say, Mark.WARNING, summary.invalid_jobs, detail=1)


def _say_jobs(say: Say, mark: Mark, jobs: Iterable[tuple[str, str]], *, detail: int) -> None:
    for name, reason in jobs:
        say(Message(mark, f"{name}.txt: {reason.removeprefix(f'{name}.txt: ')}", detail=detail))
