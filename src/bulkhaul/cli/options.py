"""The options that several commands share, each written once, and the class of all commands."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from bulkhaul.cli.render import prepare_streams, reported_errors, speaker
from bulkhaul.errors import UsageError
from bulkhaul.messages import Mark, Message, Say

if TYPE_CHECKING:
    from bulkhaul.settings import Settings


_OF_THE_PATH = frozenset({errno.EACCES, errno.ENAMETOOLONG})
"""Errors that say that another path was meant; all others are the file system's."""


def _path(text: str) -> Path:
    # An unset shell variable in quotes would else mean the working folder.
    if not text.strip():
        raise typer.BadParameter("the path is empty")
    return Path(text)


def path_option(*names: str, help: str) -> Any:
    """An option that takes a path, which must not be empty."""
    return typer.Option(*names, help=help, parser=_path, metavar="PATH")


Results = Annotated[
    Path | None, path_option("--input_path", "-i", help="Results folder. Default: `results` of the settings.")
]
NewJoblist = Annotated[
    Path | None,
    path_option("--output_path", "-o", help="Joblist to fill. Default: joblists/<source or results folder>."),
]
InputJoblist = Annotated[
    Path | None,
    path_option("--input_path", "-i", help="Joblist. Default: `joblist` of the settings, or the only one there is."),
]
Verbosity = Annotated[
    int, typer.Option("--verbosity", "-v", min=0, max=3, help="What is said: 0 errors only, 3 everything.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing anywhere.")]
Target = Annotated[str | None, typer.Option("--target", help="s3://bucket/prefix that the keys go below.")]
LayoutName = Annotated[
    str | None, typer.Option("--layout", help="jump, folders, or a layout of the settings.", show_default=False)
]
Depth = Annotated[int | None, typer.Option("--depth", min=1, help="Level of the datasets in the layout `folders`.")]
EngineName = Annotated[str | None, typer.Option("--engine", help="auto, obstore or s3transfer.")]
SyncLevelName = Annotated[
    str | None, typer.Option("--sync-level", help="What proves equal content: size, default or checksum.")
]
MaxBandwidth = Annotated[
    str | None, typer.Option("--max-bandwidth", help="Most bytes a second of one worker: 200MB, 1.5GiB.")
]
MaxRequests = Annotated[str | None, typer.Option("--max-requests", help="Most requests a second of one worker.")]
JoblistMaxBandwidth = Annotated[
    str | None, typer.Option("--joblist-max-bandwidth", help="Most bytes a second of all workers of the joblist.")
]
JoblistMaxRequests = Annotated[
    str | None, typer.Option("--joblist-max-requests", help="Most requests a second of all workers of the joblist.")
]
ConfigFile = Annotated[
    Path | None, path_option("--config", help="Settings file, instead of the nearest bulkhaul.toml.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]

# click's base of all complaints about options; some versions of typer bring a click of their own.
_BadUsage: Any = typer.BadParameter.__base__

_Function = TypeVar("_Function", bound=Callable[..., Any])


class ReportingCommand(TyperCommand):
    """A command whose errors end in `render`, however it was started."""

    def make_context(self, info_name: str | None, args: list[str], *others: Any, **more: Any) -> Any:
        """Read the options; what cannot be used becomes one line too, and a document after `--json`."""
        parent = more.get("parent")
        program = " ".join(name for name in (parent and parent.command_path, info_name) if name)
        prepare_streams()
        with reported_errors(as_json="--json" in args), _bad_usage_of(program):
            return super().make_context(info_name, args, *others, **more)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a `BulkhaulError` becomes one line and an exit code."""
        with reported_errors(as_json=bool(ctx.params.get("as_json"))):
            _refuse_other_file_names()
            return super().invoke(ctx)


class ReportingGroup(TyperGroup):
    """The program itself: an unknown verb or option becomes one line too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what stands before the verb; nothing at all shows the help."""
        if not args:
            return super().parse_args(ctx, args)
        with reported_errors(as_json="--json" in args), _bad_usage_of(ctx.command_path):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb."""
        with reported_errors(as_json="--json" in args), _bad_usage_of(ctx.command_path):
            return super().resolve_command(ctx, args)


@contextmanager
def _bad_usage_of(program: str) -> Iterator[None]:
    try:
        yield
    except _BadUsage as error:
        raise UsageError(program, _sentence(error), f"`{program} --help` lists what can be given") from error


def _refuse_other_file_names() -> None:
    # In a Latin-1 locale Python reads the UTF-8 name `é` as two letters and would send it as a key of four bytes.
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise UsageError("locale", f"file names would be read as {encoding}", "set LC_ALL=C.UTF-8 or PYTHONUTF8=1")


def _sentence(error: Any) -> str:
    text = " ".join(str(error.format_message()).split()).rstrip(".?")
    return text[:1].lower() + text[1:]


def command(app: typer.Typer, name: str, *, example: str) -> Callable[[_Function], _Function]:
    """Register a function as the command `name`, with an example below its help."""
    return app.command(
        name,
        cls=ReportingCommand,
        epilog=f"\b\nExample:\n  {example}",  # as it stands: a wrapped one cannot be typed
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def open_joblist(
    input_path: Path | None,
    *,
    verbosity: int,
    config: Path | None,
    as_json: bool,
    may_be_empty: bool = False,
    **others: object,
) -> tuple[Settings, Path, Say]:
    """What every step on a joblist begins with: its settings, its folder (symlinks resolved) and its `Say`.

    Raises:
        UsageError: bad settings, or the folder is missing, or it holds no job and must not be empty.
        StorageError: the folder cannot be looked at.
    """
    from bulkhaul.assembly import joblist_folder
    from bulkhaul.fsio import storage_error
    from bulkhaul.joblist.joblist import Joblist
    from bulkhaul.joblist.sharing import follow_sharing
    from bulkhaul.settings import load_settings

    say = speaker(verbosity, as_json=as_json)
    settings = load_settings({"joblist": input_path, **others}, config=config)
    try:
        folder = joblist_folder(settings).resolve()
        exists, is_folder = folder.exists(), folder.is_dir()
    except OSError as error:
        if error.errno not in _OF_THE_PATH:
            raise storage_error(error.filename or "--input_path", error) from error
        raise UsageError(
            error.filename or "--input_path", error.strerror or str(error), "check --input_path"
        ) from error
    if not is_folder:
        missing = "no such folder" if may_be_empty else "no such joblist"
        reason = "a joblist is a folder, this is none" if exists else missing
        raise UsageError(folder, reason, "check --input_path, or make it with `bulkhaul extract`")
    if not may_be_empty and Joblist(folder).is_empty():
        # Most likely another folder was meant, which "nothing left to do" would hide.
        raise UsageError(folder, "it holds no job file", "check --input_path, or make them with `bulkhaul extract`")
    follow_sharing(folder)
    say(Message(Mark.INFO, f"Valid input path: {folder}"))
    return settings, folder, say
