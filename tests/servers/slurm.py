"""A real SLURM cluster of two nodes on this machine, through `tests/slurm/cluster.sh`, and fixtures for it.

The fixtures reach a test through `pytest_plugins` or by import in a conftest: `slurm_cluster` (one a session) and
`use_slurm` (the same, with this test's own process as a client of it).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pytest

from servers.required import missing

SCRIPT = Path(__file__).parents[1] / "slurm" / "cluster.sh"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"})


def absence() -> str:
    """Why no cluster can be started here; empty when one can."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if lacking := [name for name in PROGRAMS if shutil.which(name, path=path) is None]:
        return f"{', '.join(lacking)} not installed: apt-get install slurmctld slurmd slurm-client munge"
    namespaces = ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "true"]
    if os.geteuid() != 0 or subprocess.run(namespaces, check=False, capture_output=True).returncode != 0:
        return "needs root with the right to make namespaces"
    return ""


class SlurmCluster:
    """A running cluster; a context manager that leaves nothing running. `environment` makes a process its client.

    Each node has room for `cpus` tasks, whatever the machine has.
    """

    def __init__(self, *, cpus: int = 4) -> None:
        self._cpus = cpus
        # Not pytest's folder: SLURM's sockets allow 64 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        outside = {n: v for n, v in os.environ.items() if not n.startswith(("SLURM_", "SBATCH_", "SQUEUE_"))}
        self.environment: Mapping[str, str] = outside | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> SlurmCluster:
        try:
            self._script("start")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._script("stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def crash(self, node: str) -> None:
        """Cut the power of `node` and have the controller notice at once, not after its timeout."""
        self.cut_power(node)
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=crash")

    def cut_power(self, node: str) -> None:
        """Cut the power of `node`; the controller has to notice by itself."""
        self._script("crash", node)

    def boot(self, node: str) -> None:
        """Start a crashed node and wait until it takes jobs."""
        self._script("boot", node)

    def silence(self) -> None:
        """End the controller in order, as for an update; what runs goes on. `resume` brings it back."""
        self._script("silence")

    def kill_controller(self) -> None:
        """Kill the controller: what it has not saved in the last seconds is forgotten. `resume` brings it back."""
        self._script("kill")

    def resume(self) -> None:
        """Start what is not running, and wait until all nodes take jobs."""
        self._script("start")

    @property
    def controller_pid(self) -> int:
        """The controller's process, to be stopped (SIGSTOP) so that its clients wait."""
        return int((self.folder / "run" / "slurmctld.pid").read_text().split()[0])

    def processes(self, task: str, *, program: str = "") -> list[int]:
        """The processes of an array task on this machine, whose command line holds `program`."""
        array, _, index = task.partition("_")
        wanted = {
            f"SLURM_CONF={self.environment['SLURM_CONF']}".encode(),
            f"SLURM_ARRAY_JOB_ID={array}".encode(),
            f"SLURM_ARRAY_TASK_ID={index}".encode(),
        }
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                environment = (folder / "environ").read_bytes().split(b"\0")
                # Of one that has ended and is not reaped yet both are empty.
                if wanted <= set(environment) and program.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found

    def kill(self, task: str) -> None:
        """Kill every process of an array task, as the kernel does to one that is over its memory."""
        while found := self.processes(task):
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def run(self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """The output of one of SLURM's programs as a client of this cluster; `env` comes on top. Fails as it does."""
        environment = {**self.environment, **(env or {})}
        done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout.strip()

    def sbatch(self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> str:
        """Submit from `cwd` and return the job id."""
        return self.run("sbatch", "--parsable", *arguments, cwd=cwd, env=env)

    def states(self, job_id: str) -> dict[str, str]:
        """The state of each task of `job_id` by its name (`7_0`; `7` for no array)."""
        lines = self.run("squeue", "-h", "-r", "-t", "all", "-j", job_id, "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines if line.strip())

    def show(self, task: str) -> dict[str, str]:
        """What `scontrol show job` says about one task."""
        words = self.run("scontrol", "show", "job", "-o", task).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def await_state(self, task: str, *states: str, patience: float = 40.0) -> str:
        """Wait until `task` is in one of `states` (by default: ended) and return it."""
        wanted = states or tuple(ENDED)
        job_id = task.partition("_")[0]
        wait_until(lambda: self.states(job_id).get(task) in wanted, f"{task} in {wanted}", patience=patience)
        return self.states(job_id)[task]

    def _script(self, verb: str, *arguments: str) -> None:
        # Output into a file: the daemons inherit it, and a pipe would stay open as long as they live.
        with tempfile.TemporaryFile("w+") as output:
            command: Sequence[str] = ["bash", str(SCRIPT), verb, str(self.folder), *arguments]
            environment = {**self.environment, "SLURM_NODE_CPUS": str(self._cpus)}
            code = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False).returncode
            output.seek(0)
            assert code == 0, output.read()


def wait_until(condition: Callable[[], object], what: str, *, patience: float = 40.0) -> None:
    """Wait until `condition` holds; fail with `what` after `patience` seconds."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"not within {patience:g} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A real cluster (node1, node2) that all tests share; who crashes a node boots it again."""
    if reason := absence():
        missing("slurm", reason)
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture
def use_slurm(slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """The cluster, with this test's own process as a client of it."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", slurm_cluster.environment["SLURM_CONF"])
    return slurm_cluster
