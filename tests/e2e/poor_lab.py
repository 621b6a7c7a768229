"""A lab whose scripts run as somebody without rights: root reads everything, so cases of rights need another uid."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.lab import Lab, make_lab
from unprivileged import reachable_folder, without_coverage

_NOBODY = 65534


@dataclass(slots=True)
class PoorLab(Lab):
    """The same lab, whose scripts run as a uid that owns nothing but what is handed over to it."""

    def command(self, script: str, *arguments: object) -> list[str]:
        drop = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        return [*drop, *Lab.command(self, script, *arguments)]

    def hand_over(self) -> None:
        """Give everything to that uid; only modes keep it out then."""
        if os.geteuid() != 0:
            return
        for parent, folders, files in os.walk(self.folder):
            for name in (*folders, *files, "."):
                os.chown(Path(parent, name), _NOBODY, _NOBODY, follow_symlinks=False)


@contextmanager
def poor_lab_on(bucket: str, env: Mapping[str, str]) -> Iterator[PoorLab]:
    """A lab in a folder that any uid can enter; gone at the end, whatever modes its files have by then."""
    with reachable_folder() as folder:
        folder.chmod(0o777)
        rich = make_lab(folder, bucket=bucket, env={**env, "PYTHONDONTWRITEBYTECODE": "1"})
        lab = PoorLab(rich.folder, rich.bucket, without_coverage(rich.env))
        try:
            yield lab
        finally:
            lab.close()
            subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
