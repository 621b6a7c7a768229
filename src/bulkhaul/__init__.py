"""Move very large results from an HPC file system to S3, and prove that they arrived.

The steps of a transfer as functions; the command line and the scripts are thin around these.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkhaul.audit import verify_joblist
    from bulkhaul.check.joblist import check_joblist
    from bulkhaul.extract import extract_joblist
    from bulkhaul.joblist.doctor.trials import examine_folder
    from bulkhaul.joblist.joblist import retry_jobs
    from bulkhaul.joblist.summary import summarise_joblist
    from bulkhaul.rehearsal import rehearse_joblist
    from bulkhaul.slurm.array import submit_array
    from bulkhaul.worker import transfer_joblist

__version__ = "0.1.0"

__all__ = [
    "check_joblist",
    "examine_folder",
    "extract_joblist",
    "rehearse_joblist",
    "retry_jobs",
    "submit_array",
    "summarise_joblist",
    "transfer_joblist",
    "verify_joblist",
]

_HOME_OF = {
    "check_joblist": "bulkhaul.check.joblist",
    "examine_folder": "bulkhaul.joblist.doctor.trials",
    "extract_joblist": "bulkhaul.extract",
    "rehearse_joblist": "bulkhaul.rehearsal",
    "retry_jobs": "bulkhaul.joblist.joblist",
    "submit_array": "bulkhaul.slurm.array",
    "summarise_joblist": "bulkhaul.joblist.summary",
    "transfer_joblist": "bulkhaul.worker",
    "verify_joblist": "bulkhaul.audit",
}


def __getattr__(name: str) -> object:
    """Import a step when it is first asked for: `--help` must not wait for boto3."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    step = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return step
