"""What the numbered scripts share: hand over to the package, or say in one line how to install it."""

from __future__ import annotations

import sys


def run(verb: str) -> None:
    """Run `verb` of bulkhaul with this script's arguments; same options, errors and exit codes as `bulkhaul VERB`."""
    try:
        from bulkhaul.cli.app import run_script
    except ModuleNotFoundError as error:
        sys.exit(
            f"\u274c {error.name} is not installed here: type `make env` in the checkout, then use .venv/bin/python"
        )
    run_script(verb)
