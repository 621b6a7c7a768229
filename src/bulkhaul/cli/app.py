"""The program `bulkhaul`: its commands put together, and the way in for the numbered scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from typer.main import get_group

from bulkhaul.cli import arrays, inspection, joblists, transfers
from bulkhaul.cli.options import ReportingGroup

app = typer.Typer(
    name="bulkhaul",
    cls=ReportingGroup,
    help="Move very large results from an HPC file system to S3, and prove that they arrived.",
    epilog="\b\nExample:\n  bulkhaul extract -i /lustre/results --target s3://bucket/prefix",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (joblists, transfers, arrays, inspection):
    group.register(app)


def main() -> None:
    """Run `bulkhaul` with the arguments of the process, and exit."""
    app(prog_name="bulkhaul")


def run_script(verb: str) -> None:
    """Run one verb as the script that was started: same options, errors and exit codes as `bulkhaul VERB`."""
    script = Path(sys.argv[0]).name
    command = get_group(app).commands[verb]
    command.epilog = (command.epilog or "").replace(f"bulkhaul {verb}", f"python {script}")
    command(prog_name=script)
