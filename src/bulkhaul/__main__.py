"""`python -m bulkhaul`, and the program `bulkhaul`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `bulkhaul` with the arguments of the process, and exit; Ctrl-C ends it without a traceback, always."""
    try:
        from bulkhaul.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)  # it came while the commands were loaded, a third of a second


if __name__ == "__main__":
    main()
