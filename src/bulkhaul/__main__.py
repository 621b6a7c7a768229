"""`python -m bulkhaul`."""

from __future__ import annotations

from bulkhaul.cli.app import main

if __name__ == "__main__":
    main()
