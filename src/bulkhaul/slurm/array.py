"""The SLURM array of workers for one joblist: how many tasks, which command, what reaches their environment.

The command is a list of words from end to end: no shell reads a user's text. It submits the checkout's own
`slurm/transfer_array.sh`, so an array from here and one that a person submits by hand behave alike. What a dry run
prints is what is run.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bulkhaul.errors import UsageError
from bulkhaul.slurm.client import SlurmError
from bulkhaul.slurm.exports import exported_names, kept_back
from bulkhaul.slurm.sbatch import max_array_size, submit

DEFAULT_TASKS = 8
"""Tasks of an array that nobody sized: a few workers with many requests each reach what S3 takes a prefix."""
DEFAULT_MAX_ARRAY_SIZE = 1001
"""SLURM's own default, for a dry run where no SLURM answers."""
SCRIPT = Path("slurm", "transfer_array.sh")

# What this module decides itself. sbatch takes any unique beginning of an option, so those count too.
_OWN_OPTIONS = ("array", "chdir", "export", "export-file", "parsable", "signal", "wrap", "requeue", "no-requeue")
_OPTION = re.compile(r"--([a-z][a-z-]*)(=[^\x00-\x1f\x7f]*)?")
_LONGEST_LEAD = 65_535
_NAME = re.compile(r"[A-Za-z0-9_.@:+-]+(,[A-Za-z0-9_.@:+-]+)*")


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What a person may choose about an array; `size` None fits it to the joblist. Checked when it is made.

    `time` is as sbatch takes it (`90`, `12:00:00`, `1-12`), `signal_lead` is in seconds before the limit, `options` are
    further words for sbatch such as `--qos=long`, `config` is the settings file that all tasks read, `variables` are
    settings for the tasks alone, by the names of their variables; nothing secret.
    """

    joblist: Path
    size: int | None = None
    throttle: int | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    options: tuple[str, ...] = ()
    signal_lead: int = 300
    python: Path = Path(sys.executable)
    config: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what sbatch would refuse, misread, or take for something else.

        Raises:
            UsageError: with the name of the setting.
        """
        for name in ("size", "throttle"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"slurm {name}", f"{value} is below 1", "give a positive number")
        for name in ("partition", "account"):
            value = getattr(self, name)
            if value is not None and not _NAME.fullmatch(value):
                raise UsageError(f"slurm {name}", f"{value!r} is no such name", "give it as SLURM lists it")
        _check_time(self.time, self.signal_lead)
        for word in self.options:
            _check_option(word)


@dataclass(frozen=True, slots=True)
class Submission:
    """What `submit_array` did: `slurm_job_id` is None after a dry run, and with `size` 0 when no job is left to do."""

    slurm_job_id: str | None
    size: int
    command: tuple[str, ...]
    log: str
    notes: tuple[str, ...]

    @property
    def command_line(self) -> str:
        """The command as a person may type it into a shell."""
        return shlex.join(self.command)


def fit_array(todo: int, *, wanted: int | None, max_array_size: int) -> int:
    """The number of tasks for `todo` jobs: as many as wanted, never more than jobs; 0 for no jobs.

    Raises:
        UsageError: more tasks than SLURM takes, which nobody wants trimmed in silence.
    """
    size = min(todo, DEFAULT_TASKS if wanted is None else wanted)
    if size > max_array_size:
        reason = f"{size} tasks, but an array may have {max_array_size} here (MaxArraySize)"
        raise UsageError("slurm size", reason, "ask for fewer: each task does many jobs")
    return size


def render_sbatch(spec: ArraySpec, *, size: int, checkout: Path, folder: Path, exports: Sequence[str]) -> list[str]:
    """The command that submits `size` tasks of the checkout's script, working in `folder`.

    `env` moves to the checkout first, which is how the script finds it (SLURM_SUBMIT_DIR) wherever the tasks work.
    """
    ours = [f"BULKHAUL_PYTHON={spec.python}"]
    if spec.config is not None:
        ours.append(f"BULKHAUL_CONFIG={spec.config}")
    ours += [f"{name}={value}" for name, value in spec.variables.items()]
    names = sorted({*exports, *(word.partition("=")[0] for word in ours)})
    array = f"0-{size - 1}" + (f"%{spec.throttle}" if spec.throttle else "")
    command = ["env", f"--chdir={checkout}", *ours, "sbatch", "--parsable", f"--array={array}", f"--chdir={folder}"]
    command += [f"--output={log_pattern(spec.joblist)}", f"--export={','.join(names)}"]
    command.append(f"--signal=B:USR1@{spec.signal_lead}")
    for name in ("time", "partition", "account"):
        value = getattr(spec, name)
        if value is not None:
            command.append(f"--{name}={value}")
    return [*command, *spec.options, str(SCRIPT), str(spec.joblist)]


def log_pattern(joblist: Path) -> str:
    """Where each task's log goes, in sbatch's terms: beside the job files, one file a task."""
    name = "slurm-%A_%a.out"
    # A backslash anywhere would switch sbatch's patterns off, and all tasks would share one file.
    return name if "\\" in str(joblist) else f"{joblist}/".replace("%", "%%") + name


def submit_array(spec: ArraySpec, *, todo: int, checkout: Path | None = None, dry_run: bool = False) -> Submission:
    """Submit an array of workers that fits a joblist with `todo` jobs to do; a dry run only renders it.

    Raises:
        UsageError: the joblist is missing, no checkout, more tasks wanted than SLURM takes, or SLURM refuses an option.
        SlurmError: SLURM is not here or does not answer.
    """
    spec = _with_absolute_paths(spec)
    checkout = checkout or own_checkout()
    log = log_pattern(spec.joblist)
    if todo == 0:
        return Submission(None, 0, (), log, ("no job is left to do",))
    limit, notes = _limit(dry_run=dry_run)
    size = fit_array(todo, wanted=spec.size, max_array_size=limit)
    exports = exported_names(os.environ)
    command = render_sbatch(spec, size=size, checkout=checkout, folder=Path.cwd(), exports=exports)
    slurm_job_id = None if dry_run else submit(command)
    return Submission(slurm_job_id, size, tuple(command), log, (*notes, *_advice()))


def own_checkout(start: Path = Path(__file__)) -> Path:
    """The checkout that this package runs from.

    Raises:
        UsageError: the package was installed without one.
    """
    for folder in start.resolve().parents:
        if (folder / SCRIPT).is_file():
            return folder
    raise UsageError(SCRIPT, "not found above the installed package", "submit from a checkout made ready by `make env`")


def _with_absolute_paths(spec: ArraySpec) -> ArraySpec:
    if not spec.joblist.is_dir():
        raise UsageError(spec.joblist, "no such joblist", "make one with `bulkhaul extract`, or check the path")
    config = None if spec.config is None else spec.config.absolute()
    # Not resolved: the interpreter of an environment is a symlink, and only under its own name it is that environment.
    return replace(spec, joblist=spec.joblist.absolute(), python=spec.python.absolute(), config=config)


def _limit(*, dry_run: bool) -> tuple[int, tuple[str, ...]]:
    try:
        return max_array_size(), ()
    except SlurmError as error:
        if not dry_run:
            raise
        return DEFAULT_MAX_ARRAY_SIZE, (f"not checked against the cluster: {error}",)


def _advice() -> tuple[str, ...]:
    names = kept_back(os.environ)
    if not names:
        return ()
    return (f"{', '.join(names)}: stays in this shell, SLURM would store it; give the tasks a profile or a provider",)


def _check_time(time: str | None, signal_lead: int) -> None:
    if not 1 <= signal_lead <= _LONGEST_LEAD:
        raise UsageError("slurm signal", f"{signal_lead} s", f"give 1 to {_LONGEST_LEAD} seconds")
    if time is None:
        return
    seconds = time_limit(time)
    if seconds is not None and seconds <= signal_lead:
        reason = f"{time} is over before the signal {signal_lead} s ahead of its end"
        raise UsageError("slurm time", reason, "give the tasks more time")


def time_limit(text: str) -> int | None:
    """The seconds that sbatch reads in `text` (`90` minutes, `90:00`, `12:00:00`, `1-12`, `1-12:30`); None: no limit.

    Raises:
        UsageError: sbatch would not take it.
    """
    if text.upper() in ("UNLIMITED", "INFINITE"):
        return None
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    if len(parts) > 3 or not all(part.isdecimal() for part in (*parts, days or "0")) or (dash and not days):
        raise UsageError("slurm time", f"{text!r} is no time limit", "write minutes, hours:minutes:00 or days-hours")
    if not dash and len(parts) < 3:
        parts.insert(0, "0")
    hours, minutes, seconds = (int(part) for part in (*parts, "0", "0")[:3])
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _check_option(word: str) -> None:
    found = _OPTION.fullmatch(word)
    if found is None:
        # A bare word would be taken for the script, and a value in a word of its own can swallow what follows it.
        raise UsageError("slurm options", f"{word!r} is not of the form --name or --name=value", "write it so")
    if any(own.startswith(found[1]) for own in _OWN_OPTIONS):
        raise UsageError("slurm options", f"--{found[1]} is set by bulkhaul", "leave it out; see slurm/README.md")
