"""`doctor`, `config` and `policy`: what this place can do, what is set where, and which rights that takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulkhaul.cli import options as o
from bulkhaul.cli.render import end, plain, speaker
from bulkhaul.errors import OK, UsageError
from bulkhaul.messages import Mark, Message

if TYPE_CHECKING:
    from bulkhaul.settings import Settings


def register(app: typer.Typer) -> None:
    """Add this group's commands to `app`."""
    o.command(app, "doctor", example="bulkhaul doctor ./source08")(doctor)
    o.command(app, "config", example="bulkhaul config --json")(config)
    o.command(app, "policy", example="bulkhaul policy --role worker --target s3://bucket/prefix")(policy)


def doctor(
    folder: Annotated[
        Path | None, typer.Argument(help="Joblist, or the folder for one. Default: as for the other steps.")
    ] = None,
    verbosity: o.Verbosity = 1,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Try on the real folder whether it can hold a joblist: link, exclusive create, rename, lock."""
    from bulkhaul.joblist.doctor.findings import Level
    from bulkhaul.joblist.doctor.trials import examine_folder
    from bulkhaul.slurm.environment import current_share, current_task

    marks = {Level.FINE: Mark.DONE, Level.WARNING: Mark.WARNING, Level.FATAL: Mark.FAILED}
    _, place, say = o.open_joblist(folder, verbosity=verbosity, config=config, as_json=as_json, may_be_empty=True)
    task, share = current_task(), current_share()
    # A requeued task finds the reports of its earlier run in the same folder: they say nothing of these nodes.
    party = f"{task.submission}_{task.restart_count}" if task is not None and share.count > 1 else None
    findings = examine_folder(place, party=party, expected=share.count)
    for finding in findings.findings:
        say(Message(marks[finding.level], f"{finding.trial}: {finding.text}", detail=0 if finding.fatal else 1))
    say(Message(Mark.INFO, f"Claims here: {findings.mode}"))
    end(findings, exit_code=findings.exit_code, as_json=as_json)


def config(
    verbosity: o.Verbosity = 1,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Show each setting, its value and where that came from."""
    from bulkhaul.settings import load_settings

    settings = load_settings(config=config)
    if as_json:
        values = {name: {"value": value, "origin": settings.origin(name)} for name, value in _shown(settings).items()}
        end(values, exit_code=OK, as_json=True)
    say = speaker(verbosity, as_json=as_json)
    width = max(len(name) for name in type(settings).model_fields)
    for name, value in _shown(settings).items():
        say(Message(Mark.INFO, f"{name:<{width}}  {_text(value)}  ({settings.origin(name)})", detail=0))
        say(Message(Mark.INFO, f"{'':<{width}}  {type(settings).model_fields[name].description}", detail=2))
    end(None, exit_code=OK, as_json=False)


def policy(
    role: Annotated[str, typer.Option("--role", help="worker (sends) or auditor (only verifies again).")],
    input_path: Annotated[
        Path | None, o.path_option("--input_path", "-i", help="Joblist: rights for the targets of its jobs alone.")
    ] = None,
    target: o.Target = None,
    config: o.ConfigFile = None,
    as_json: o.AsJson = False,
) -> None:
    """Print the least IAM policy, a JSON document, for a target or for the jobs of a joblist."""
    from bulkhaul.assembly import target_finder
    from bulkhaul.s3.location import S3Location
    from bulkhaul.settings import load_settings
    from bulkhaul.targets import joblist_locations
    from bulkhaul.transfer.rights import Role, Scope, least_scopes, policy_document

    if role not in Role.__members__.values():
        raise UsageError("--role", f"{role!r} is no role", f"choose {' or '.join(Role)}")
    settings = load_settings({"target": target}, config=config)
    if input_path is None:
        scopes = [Scope(S3Location.parse(settings.needed("target")))]
    else:
        _, folder, _ = o.open_joblist(input_path, verbosity=0, config=config, as_json=as_json, target=target)
        scopes = least_scopes(joblist_locations(folder, target_finder(settings)))
        if not scopes:
            raise UsageError(folder, "no job file of it can be read", "`bulkhaul summarise` tells why")
    end(policy_document(Role(role), scopes, region=settings.region), exit_code=OK, as_json=True)


def _shown(settings: Settings) -> dict[str, object]:
    """The values, without what may be a secret: the arguments of a command, a password within a URL."""
    values: dict[str, object] = {name: getattr(settings, name) for name in type(settings).model_fields}
    if settings.credential_command:
        program, *arguments = settings.credential_command
        values["credential_command"] = [program, *("***" for _ in arguments)]
    values["layouts"] = {name: layout.model_dump(exclude_none=True) for name, layout in settings.layouts.items()}
    return {name: plain(value) for name, value in values.items()}


def _text(value: object) -> str:
    if value is None or value in ([], {}):
        return "-"
    return " ".join(str(item) for item in value) if isinstance(value, list) else str(value)
