"""One trial: cut an operation, look at what is there, let people and workers go on, look again."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.cutting import judge
from faults.cutting.tracing import Cut, Fault, cuts_of, met, run_traced
from faults.cutting.zygote import Zygote, output_of

_EXTRACTIONS = ("extract", "extend")
_OF_TWO_JOBS = (*_EXTRACTIONS, "first claim", "claim", "retry")


@dataclass(frozen=True, slots=True)
class Trial:
    """How a cut ended: the exit code (-9: killed), what was wrong (empty: nothing), temporary files left."""

    cut: Cut
    fault: Fault
    code: int
    wrong: str
    left: int


@contextmanager
def quick_folder(folder: Path) -> Iterator[Path]:
    """A place for thousands of trials, each with dozens of fsyncs: in memory where that can be had, else `folder`."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else folder) as quick:
        yield Path(quick)


def find_cuts(zygote: Zygote, operation: str, folder: Path) -> list[Cut]:
    """Every call of the operation on the joblist, by a run without faults."""
    folder.mkdir()
    code, trace = run_traced(zygote, operation, folder)
    assert code == 0, output_of(operation, folder)
    cuts = cuts_of(operation, trace, folder / "joblist")
    shutil.rmtree(folder)
    return cuts


def try_cut(zygote: Zygote, cut: Cut, fault: Fault, folder: Path) -> Trial:
    """Bring about `fault` at `cut` in a fresh joblist below `folder`, then recover."""
    folder.mkdir()
    joblist = folder / "joblist"
    code, trace = run_traced(zygote, cut.operation, folder, cut.injections(fault))
    faults = []
    if (place := met(trace, fault, joblist)) != cut.place:
        faults.append(f"the fault was not met at {cut.place!r}, but at {place!r}")
    faults += _faults_of_the_process(cut, fault, code, folder)
    jobs = _jobs_of(cut.operation)
    faults += judge.faults_at_rest(joblist, jobs, whole=cut.operation not in _EXTRACTIONS)
    left = judge.leftovers(joblist)
    if len(left) > 1 or (left and fault is not Fault.KILL and "unlink" not in cut.call and fault is not Fault.GONE):
        faults.append(f"temporary files are left: {left}")
    if not faults:
        faults += _recovered(zygote, cut.operation, folder)
    if not faults:
        shutil.rmtree(folder)
    return Trial(cut, fault, code, judge.first_of(faults), len(left))


def _jobs_of(operation: str) -> tuple[str, ...]:
    if operation.startswith("scan"):
        return ("a", *(f"c{number:02}" for number in range(12)))
    return ("a", "b") if operation.startswith(_OF_TWO_JOBS) else ("a",)


def _faults_of_the_process(cut: Cut, fault: Fault, code: int, folder: Path) -> Iterator[str]:
    said, errors = output_of(cut.operation, folder)
    yield from judge.disbelieved(folder / "joblist", said)
    if fault is Fault.KILL:
        if code != -9:
            yield f"it was not killed, it ended with {code}"
        return
    reason = os.strerror(errno.EIO if fault is Fault.GONE else getattr(errno, fault))
    # `access` tells no reason: what cannot be looked at counts as a folder without the right to write.
    yield from judge.bad_ends(code, errors, reason="Permission denied" if cut.call == "access" else reason)
    if fault is Fault.ESTALE and cut.reads and code != 0:
        yield "a stale file was not opened anew"


def _recovered(zygote: Zygote, operation: str, folder: Path) -> Iterator[str]:
    joblist, jobs = folder / "joblist", _jobs_of(operation)
    if operation in _EXTRACTIONS:
        yield from _ran(zygote, "extract again", folder)
    yield from _ran(zygote, "summarise", folder)
    yield from judge.faults_after_scan(joblist, jobs, set_back=operation == "retry")
    yield from _ran(zygote, "work", folder)
    if any(judge.line_1(joblist, job) == "error" for job in jobs):
        yield from _ran(zygote, "retry again", folder)
        yield from _ran(zygote, "work", folder)
    yield from judge.faults_at_rest(joblist, jobs)
    yield from judge.faults_when_done(joblist, jobs)


def _ran(zygote: Zygote, step: str, folder: Path) -> Iterator[str]:
    code = zygote.run(step, folder)
    if code != 0:
        yield f"`{step}` ended with {code}: {output_of(step, folder)[1][-300:]}"
    yield from judge.disbelieved(folder / "joblist", output_of(step, folder)[0])
