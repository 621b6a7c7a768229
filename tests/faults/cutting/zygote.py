"""A process that has loaded everything and forks a child for each order: a trial then costs milliseconds.

Orders and answers are JSON lines. A child that is to be traced stops itself before what is to be cut; the tracer lets
it go on. Its output goes to files beside the joblist.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

TESTS = Path(__file__).parents[2]
_SET_DEATH_SIGNAL = 1
_SET_PTRACER = 0x59616D61  # Yama's: without it only root may trace what is not its own child
LONGEST = 60  # seconds; then a child is taken for hanging
END = "/the-cut-operation-has-ended"
"""A child asks for this name when its operation is over: what follows in its trace is none of it."""


class Zygote:
    """The process that forks; a context manager."""

    def __enter__(self) -> Zygote:
        # Without coverage of its own: that would fill the traces, and what runs here runs elsewhere too.
        env = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "BULKHAUL_", "SLURM"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.cutting.zygote"],
            cwd=TESTS,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(LONGEST)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def begin(self, operation: str, folder: Path) -> int:
        """Prepare an operation; the PID of the child that has stopped before it."""
        self._order(operation, folder, stops=True)
        pid = self._answer()
        assert isinstance(pid, int), f"{operation} could not be prepared: {pid}; {folder}"
        return pid

    def end(self) -> int:
        """The exit code of the child that was begun, when it has ended; -9 where it was killed."""
        (code,) = self._answer()
        return int(code)

    def run(self, operation: str, folder: Path) -> int:
        """Run an operation to its end; the exit code."""
        self._order(operation, folder, stops=False)
        return self.end()

    def _order(self, operation: str, folder: Path, *, stops: bool) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([operation, str(folder), stops]) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote has died"
        return json.loads(line)


def output_of(operation: str, folder: Path) -> tuple[str, str]:
    """What the child of that operation wrote to standard output and standard error."""
    return (folder / f"{operation}.out").read_text(), (folder / f"{operation}.err").read_text()


def _tell(value: object) -> None:
    print(json.dumps(value), flush=True)


def _serve() -> None:
    from faults.cutting.operations import CUT, RECOVERY
    from faults.cutting.planted import PLANTED

    operations = CUT | PLANTED | RECOVERY
    # Each once in this very process: what the commands load when they are needed is here before the first trial.
    with Path(os.devnull).open("w") as nowhere, tempfile.TemporaryDirectory() as folder:
        told, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), nowhere, nowhere
        for number, prepare in enumerate(operations.values()):
            place = Path(folder, str(number))
            (place / "joblist").mkdir(parents=True)
            (place / "results" / "a").mkdir(parents=True)
            with prepare(place) as act:
                act()
        sys.stdout, sys.stderr = told
    _tell("ready")
    for line in sys.stdin:
        operation, place, stops = json.loads(line)
        child = os.fork()
        if child == 0:
            _be_child(operation, Path(place), operations[operation], stops=stops)
        _, status = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            _tell(child)
            _, status = os.waitpid(child, 0)
        _tell([os.waitstatus_to_exitcode(status)])


def _be_child(name: str, folder: Path, operation: Any, *, stops: bool) -> None:
    code = 1
    try:
        _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)  # a child that has stopped itself would wait for ever
        signal.alarm(LONGEST)
        for number, ending in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / f"{name}.{ending}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
        # Those of the first round write to what it wrote to.
        logging.getLogger().handlers.clear()
        with operation(folder) as act:
            if stops:
                _prctl(_SET_PTRACER, -1)
                os.kill(os.getpid(), signal.SIGSTOP)
            code = _acted(act)
    except BaseException:  # noqa: BLE001 - it is to be seen, and must not return into the parent's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def _acted(act: Any) -> int:
    from bulkhaul.errors import StorageError
    from faults.cutting.trial_worker import say_error

    try:
        return int(act())
    except StorageError as error:
        say_error(error)
        return error.exit_code
    finally:
        Path(END).exists()


if __name__ == "__main__":
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    _serve()
