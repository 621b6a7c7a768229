"""strace on a child that waits: which calls its operation makes on the joblist, and a fault at any one of them.

strace counts the calls of a thread from the moment it comes, each system call by its own name, however many one
expression has: a cut is a name and a number, not one number over all (`when=` of strace 6.1, tried out). `-P` cannot
name a temporary file of a random name, so the calls on the joblist are picked out of a first trace, and a trial tells
by its own trace which call it met. A call that is killed is not made: the kill after it is the one before the next.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from faults.cutting.zygote import END, Zygote
from servers.required import missing

_CALLS = "%file,read,write,pread64,pwrite64,fsync,fdatasync,fstat,ftruncate,fchmod,getdents64,flock,lseek,close"
CHANGING = ("openat", "mkdir", "link", "linkat", "rename", "renameat", "unlink", "unlinkat", "fsync", "pwrite64")
_LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<rest>.*)")
_ARGUMENT = re.compile(r"JOBLIST[^\s\">]*|\bO_[A-Z_|]+\b")
_READING = re.compile(
    r"(read|openat) JOBLIST/(\.bulkhaul/(ledger|heartbeat)/)?(\*(\.\w+)?|[^/.]+\.\w+)( O_RDONLY(?!.*O_DIRECTORY).*)?$"
)
_BROKEN_OFF = " <unfinished ...>"
_RESUMED = re.compile(r"\d+ +<\.\.\. \w+ resumed>")
_RESULT = re.compile(r"\) += ")
# Random names, the worker's own; and which of two jobs a worker takes first.
_VARYING = re.compile(r"[^/]*-\d+-[0-9a-f]{8}|\b[0-9a-f]{12,16}\b|(?<=/)\.?[ab](?=\.)")


class Fault(StrEnum):
    """What happens at a cut; the file system is `gone` for all calls that change something from there on."""

    KILL = "kill"
    ENOSPC = "ENOSPC"
    EIO = "EIO"
    ESTALE = "ESTALE"
    EDQUOT = "EDQUOT"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Cut:
    """One call of an operation on the joblist: the `number`th of its name; `before` counts each name up to here.

    `place` is the call with its arguments, the same in each run.
    """

    operation: str
    call: str
    number: int
    place: str
    before: tuple[tuple[str, int], ...]

    @property
    def reads(self) -> bool:
        """Whether this reads a job file, a record or a heartbeat: what another machine may just have replaced."""
        return bool(_READING.match(self.place))

    def injections(self, fault: Fault) -> list[str]:
        """The expressions with which strace brings about `fault` here."""
        match fault:
            case Fault.KILL:
                return [f"{self.call}:signal=SIGKILL:when={self.number}"]
            case Fault.GONE:
                before = dict(self.before)
                # `?`: not every machine has each of them.
                return [f"?{call}:error=EIO:when={before.get(call, 0) + 1}+" for call in CHANGING]
            case _:
                return [f"{self.call}:error={fault}:when={self.number}"]


def strace() -> str:
    """The program; without it the test ends, as `missing` says."""
    found = shutil.which("strace")
    if found is None:
        missing("strace", "tests/install_packages.sh installs it")
    return found


def run_traced(zygote: Zygote, operation: str, folder: Path, injections: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Run an operation under strace; the exit code of its process and the lines of its own thread's trace."""
    trace = folder / "trace"
    pid = zygote.begin(operation, folder)
    command = [strace(), "-f", "-y", "-s", "0", "-e", "signal=none", "-e", f"trace={_CALLS}", "-o", str(trace)]
    for injection in injections:
        command += ["-e", f"inject={injection}"]
    with subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if "attached" not in line:
            os.kill(pid, signal.SIGKILL)
            zygote.end()
            missing("strace", f"it may not trace here: {line.strip()}")
        os.kill(pid, signal.SIGCONT)
        code = zygote.end()
        tracer.stderr.read()
    return code, joined(line for line in trace.read_text().splitlines() if line.startswith(f"{pid} "))


def joined(lines: Iterable[str]) -> list[str]:
    """Each call on one line: strace breaks a line off when another thread comes between, as one that ends does."""
    whole: list[str] = []
    for line in lines:
        if (resumed := _RESUMED.match(line)) and whole and whole[-1].endswith(_BROKEN_OFF):
            whole[-1] = whole[-1].removesuffix(_BROKEN_OFF) + line[resumed.end() :]
        else:
            whole.append(line)
    # Without its other half: the process was killed in it.
    return [f"{line.removesuffix(_BROKEN_OFF)}) = ?" if line.endswith(_BROKEN_OFF) else line for line in whole]


def cuts_of(operation: str, trace: Sequence[str], joblist: Path) -> list[Cut]:
    """The calls of a trace without faults that concern the joblist, in their order."""
    counts: Counter[str] = Counter()
    cuts = []
    for line in trace:
        found = _LINE.match(line)
        if found is None:
            continue
        if END in line:
            break
        call, rest = found["call"], found["rest"]
        before = tuple(counts.items())
        counts[call] += 1
        if f"{joblist}/" in rest or f'{joblist}"' in rest or f"{joblist}>" in rest:
            cuts.append(Cut(operation, call, counts[call], _place(call, rest, joblist), before))
    return cuts


def met(trace: Sequence[str], fault: Fault, joblist: Path) -> str:
    """The call that met the fault, as in `Cut.place`; empty where none did."""
    for line in trace:
        found = _LINE.match(line)
        # A kill leaves the call that it forestalled without a result.
        if found and ("(INJECTED)" in line or (fault is Fault.KILL and line.endswith("= ?"))):
            return _place(found["call"], found["rest"], joblist)
    return ""


def _place(call: str, rest: str, joblist: Path) -> str:
    """A call with the names among its arguments and how they are opened; what differs between two runs is starred."""
    arguments = _RESULT.split(rest)[0].replace(str(joblist), "JOBLIST")
    names = [_VARYING.sub("*", name) for name in _ARGUMENT.findall(arguments)]
    return " ".join([call, *names])
