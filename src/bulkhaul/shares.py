"""Which finished jobs an audit looks at: all, or the share of an array's task, less what its earlier runs verified."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

from bulkhaul.fsio import make_folder, open_shared, storage_errors
from bulkhaul.joblist.job import JobView
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.slurm.environment import TaskId, current_share

_WHOLE = "\t"  # ends a name, which holds none: a kill may cut one to what is another job's name


class AuditShare:
    """The part of one process; in a SLURM task it outlives a requeue, in a file of names beside the ledger."""

    def __init__(self, joblist: Joblist, task: TaskId | None) -> None:
        self._share = current_share()
        self._memory: Path | None = None
        self._verified: frozenset[str] = frozenset()
        if task is not None:
            self._memory = joblist.state_path("audited", f"{task.cluster}_{task.name}")
            if task.restart_count:
                self._verified = _names_in(self._memory)

    def __str__(self) -> str:
        return f"Share {self._share.index + 1} of {self._share.count}"

    def of(self, finished: Iterable[JobView]) -> list[JobView]:
        """The jobs of `finished` that are left; dealt out by name, so that tasks that start apart leave none out."""
        ours = (view for view in finished if zlib.crc32(view.name.encode()) % self._share.count == self._share.index)
        return [view for view in ours if view.name not in self._verified]

    def note(self, name: str) -> None:
        """The job `name` agrees with S3; the task's next run need not look again.

        Raises:
            StorageError: it could not be noted.
        """
        if self._memory is not None:
            with storage_errors(self._memory):
                make_folder(self._memory.parent)
                with open(self._memory, "a", encoding="utf-8", opener=open_shared) as file:
                    file.write(f"\n{name}{_WHOLE}")

    def close(self) -> None:
        """The audit has come to its end: the next one begins anew."""
        if self._memory is not None:
            with storage_errors(self._memory):
                self._memory.unlink(missing_ok=True)


def _names_in(memory: Path) -> frozenset[str]:
    with storage_errors(memory):
        text = memory.read_text(encoding="utf-8") if memory.is_file() else ""
    return frozenset(line.removesuffix(_WHOLE) for line in text.split("\n") if line.endswith(_WHOLE))
