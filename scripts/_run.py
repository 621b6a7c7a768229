"""What the numbered scripts share: hand over to the package, or say in one line how to install it."""

from __future__ import annotations

import sys


def run(verb: str) -> None:
    """Run `verb` of bulkhaul with this script's arguments; same options, errors and exit codes as `bulkhaul VERB`."""
    try:
        from bulkhaul.cli.app import run_script
    except ModuleNotFoundError as error:
        step = "type `make env` in the checkout, then use .venv/bin/python"
        print(f"\u274c {error.name} is not installed here: {step}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    run_script(verb)
