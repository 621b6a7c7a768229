"""What the numbered scripts share: hand over to the package, or say in one line how to install it."""

from __future__ import annotations

import sys
from collections.abc import Callable


def run(verb: str) -> None:
    """Run `verb` of bulkhaul with this script's arguments; same options, errors and exit codes as `bulkhaul VERB`."""
    try:
        _program()(verb)
    except KeyboardInterrupt:
        sys.exit(130)


def _program() -> Callable[[str], None]:
    try:
        from bulkhaul.cli.app import run_script
    except ModuleNotFoundError as error:
        step = "type `make env` in the checkout, then use .venv/bin/python"
        print(f"\u274c {error.name} is not installed here: {step}", file=sys.stderr)
        sys.exit(2)
    return run_script
