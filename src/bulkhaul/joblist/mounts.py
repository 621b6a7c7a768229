"""On which mount a path lies, and what its type and options mean for locks and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# Options after which flock or fresh names cannot be relied on between machines.
_WARNINGS = {
    "localflock": "flock excludes only within one machine; the ledger alone keeps claims apart",
    "noflock": "flock cannot be had; the ledger alone keeps claims apart",
    "nolock": "locks stay on this machine; the ledger alone keeps claims apart",
    "local_lock=all": "locks stay on this machine; the ledger alone keeps claims apart",
    "local_lock=flock": "flock stays on this machine; the ledger alone keeps claims apart",
    "lookupcache=all": "names made elsewhere may appear late; nothing breaks",
    "noac": "nothing is cached: correct, and slow",
}
_HOPELESS = re.compile(r"fuse\.(sshfs|rclone|s3fs|goofys|mount-s3|gcsfuse|blobfuse2?|s3backer)")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/mounts."""

    device: str
    point: Path
    kind: str
    options: tuple[str, ...]

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """(option, what follows from it) for each option to be known."""
        return tuple((option, _WARNINGS[option]) for option in self.options if option in _WARNINGS)

    @property
    def hopeless(self) -> bool:
        """True for a file system that is known not to keep machines coherent."""
        return _HOPELESS.fullmatch(self.kind) is not None


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """The mounts in the text of /proc/mounts; pure."""
    fields = (line.split() for line in text.splitlines())
    return tuple(
        Mount(_plain(field[0]), Path(_plain(field[1])), field[2], tuple(field[3].split(",")))
        for field in fields
        if len(field) >= 4
    )


def mount_of(path: Path, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount that holds the resolved `path`: the deepest, and of equals the last, which covers the others."""
    holders = [mount for mount in mounts if path.is_relative_to(mount.point)]
    return max(reversed(holders), key=lambda mount: len(mount.point.parts), default=None)


def present_mounts() -> tuple[Mount, ...]:
    """The mounts that this process sees; none where the system does not tell."""
    try:
        return parse_mounts(Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return ()


def least_lease(mount: Mount | None) -> float:
    """The shortest lease in seconds that is safe for a joblist on `mount`."""
    # Over NFS a beat shows up to a minute late (acregmax is 60 s): a shorter lease would end under living owners.
    return 90.0 if mount is not None and mount.kind in ("nfs", "nfs4") else 0.0


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
