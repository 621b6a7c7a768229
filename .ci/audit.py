"""Ask pip-audit for known vulnerabilities of what is installed; exit 1 for one in what bulkhaul needs to run.

Where the service cannot be asked, one line says that the audit was skipped, and the exit code is 0: being offline is
no fault of a change. What only development needs is told and does not fail.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

SECONDS = 90.0
COMMAND = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]


def plain(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(package: str = "bulkhaul") -> set[str]:
    """All that `package` needs to run, itself not included; extras and other platforms' packages are left out."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        for name in _direct(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _direct(package: str) -> Iterator[str]:
    try:
        lines = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return  # for another platform or Python
    for line in lines:
        if "extra ==" not in line:
            yield plain(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])


def asked() -> tuple[list[dict[str, Any]], str]:
    """What pip-audit said of each package, or nothing and why."""
    try:
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {SECONDS:g} s"
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        return [], said[-1]
    known = [package for package in packages if "vulns" in package]
    return known, "" if known else "the service knows none of the packages"


def main() -> int:
    """Say what was found in a few lines; the exit code."""
    packages, lack = asked()
    if not packages:
        print(f"dependency audit skipped: {lack}")
        return 0
    runtime, failed = needed(), False
    for package in packages:
        serious = plain(package["name"]) in runtime
        failed = failed or (serious and bool(package["vulns"]))
        for found in package["vulns"]:
            kind = "vulnerable" if serious else "vulnerable, for development only"
            mended = ", ".join(found["fix_versions"]) or "no version yet"
            print(f"{kind}: {package['name']} {package['version']}: {found['id']}, mended in {mended}")
    audited = {plain(package["name"]) for package in packages}
    print(f"dependency audit: {len(audited)} packages, {len(runtime & audited)} of {len(runtime)} needed to run")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
