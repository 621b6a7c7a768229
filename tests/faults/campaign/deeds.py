"""What a campaign does beside the wire: to processes, to the disk, to clocks, to sources, to the joblist's files."""

from __future__ import annotations

import errno
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faults.campaign.datasets import change
from faults.campaign.fates import JUMPING, SKEWED, Fates
from faults.campaign.keys import TokenDesk
from faults.campaign.ledger import holds_a_job, status_of
from faults.campaign.site import LEASE, Site
from faults.campaign.wire import KINDS
from servers.disk import BALLAST, fill_blocks, make_room

MOST_WORKERS = 6
_TESTS = Path(__file__).parents[2]
_FAST = "clock 1.5 times fast"
_NO_ROOM = "No space left on device"
_STORAGE_ERRORS = ("EIO", "ESTALE", "EDQUOT", "EACCES", "ENOSPC")
_SOURCE_ERRORS = ("EIO", "ESTALE", "EACCES")


@dataclass(slots=True)
class Scene:
    """What deeds act upon; `later` holds what undoes them, with its time; `met` counts those that hit something."""

    site: Site
    fates: Fates
    desk: TokenDesk | None
    chance: random.Random
    failing_files: Path
    false_clock: Path
    met: Counter[str] = field(default_factory=Counter)
    marks: dict[Path, str] = field(default_factory=dict)
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def undo_due(self, *, all_of_them: bool = False) -> None:
        """Undo what has lasted long enough."""
        now = time.monotonic()
        due = [entry for entry in self.later if all_of_them or entry[0] <= now]
        self.later = [entry for entry in self.later if entry not in due]
        for _, undo in due:
            undo()

    def faults(self) -> Counter[str]:
        """All faults that have hit something so far, by name."""
        found = Counter(name for mark, name in self.marks.items() if mark.exists())
        found[_FAST] = sum(worker.kind == _FAST and worker.has_worked for worker in self.site.workers)
        found["STS down"] = self.desk.outages_met if self.desk else 0
        return self.met + self.fates.met + found


def _wire(scene: Scene) -> str | None:
    for kind in scene.chance.choices(list(KINDS), k=scene.chance.randint(1, 3)):
        scene.fates.plan(kind)
    return None  # counted when it meets a request


def _kill(scene: Scene) -> str | None:
    running = scene.site.running()
    if not running:
        return None
    worker = scene.chance.choice(running)
    holds = holds_a_job(scene.site.joblist, worker.process.pid)
    worker.kill()
    return "kill -9" if holds else None


def _ask_to_stop(scene: Scene) -> str | None:
    listening = [worker for worker in scene.site.running() if worker.listens]
    if not listening:
        return None
    number = scene.chance.choice([signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
    scene.chance.choice(listening).process.send_signal(number)
    return number.name


def _stop(scene: Scene) -> str | None:
    running = [worker for worker in scene.site.running() if worker.stopped_until is None]
    if not running:
        return None
    worker = scene.chance.choice(running)
    began = time.monotonic()
    until = began + LEASE * scene.chance.uniform(1.3, 2.5)
    worker.stopped_until = until
    worker.process.send_signal(signal.SIGSTOP)

    def wake() -> None:
        worker.stopped_until = None
        if worker.running and time.monotonic() - began > LEASE:
            scene.met["SIGSTOP beyond the lease"] += 1
        worker.process.send_signal(signal.SIGCONT)

    scene.later.append((until, wake))
    return None  # counted when it wakes: the campaign may end before, or kill it


def _fill_disk(scene: Scene) -> str | None:
    joblist = scene.site.joblist
    if (joblist / BALLAST).exists():
        return None
    before = _complaints(scene.site)
    fill_blocks(joblist)

    def empty_disk() -> None:
        scene.met["ENOSPC"] += _complaints(scene.site) > before
        make_room(joblist)

    scene.later.append((time.monotonic() + scene.chance.uniform(0.3, 2.0), empty_disk))
    return None  # counted when somebody met it


def _complaints(site: Site) -> int:
    return sum(worker.said().count(_NO_ROOM) for worker in site.workers)


def _fail_files(scene: Scene, under: Path, *, number: str, after: int, times: int, name: str) -> None:
    mark = scene.site.folder / f"failed-{len(scene.marks)}"
    scene.marks[mark] = name
    scene.site.start_worker(
        name,
        LD_PRELOAD=str(scene.failing_files),
        FAILING_FILES_UNDER=str(under),
        FAILING_FILES_AFTER=str(after),
        FAILING_FILES_TIMES=str(times),
        FAILING_FILES_ERRNO=str(getattr(errno, number)),
        FAILING_FILES_MARK=str(mark),
    )


def _fail_joblist(scene: Scene) -> str | None:
    number = scene.chance.choice(_STORAGE_ERRORS)
    after, times = scene.chance.randrange(500), scene.chance.choice([1, 1, 3, 1 << 30])
    _fail_files(scene, scene.site.joblist, number=number, after=after, times=times, name=f"{number} of the joblist")
    return None  # counted when it is met


def _fail_sources(scene: Scene) -> str | None:
    number = scene.chance.choice(_SOURCE_ERRORS)
    after = scene.chance.randrange(2000)
    _fail_files(scene, scene.site.folder / "results", number=number, after=after, times=1, name=f"{number} of a source")
    return None


def _false_date(scene: Scene) -> str | None:
    scene.site.start_worker(
        SKEWED,
        LD_PRELOAD=str(scene.false_clock),
        FAKETIME=scene.chance.choice(["+1d", "-1d"]),
        FAKETIME_DONT_FAKE_MONOTONIC="1",  # a wrong date does not change how fast time passes
    )
    scene.fates.plan_refusal(SKEWED)
    return None  # counted when S3 refuses it


def _jump(scene: Scene) -> str | None:
    """A worker begins with the right time, and finds itself a day off amid what it does."""
    setting = scene.site.folder / f"clock-{len(scene.site.workers)}"
    setting.write_text("+0")
    worker = scene.site.start_worker(
        JUMPING,
        LD_PRELOAD=str(scene.false_clock),
        FAKETIME_TIMESTAMP_FILE=str(setting),
        FAKETIME_CACHE_DURATION="1",  # seconds until it reads the file again
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    days = scene.chance.choice(["+1d", "-1d"])

    def jump() -> None:
        if worker.running and holds_a_job(scene.site.joblist, worker.process.pid):
            setting.write_text(days)
            scene.fates.plan_refusal(JUMPING)
        elif worker.running:
            scene.later.append((time.monotonic() + 0.2, jump))

    scene.later.append((time.monotonic() + scene.chance.uniform(0.8, 3.0), jump))
    return None  # counted when S3 refuses it


def _fast_clock(scene: Scene) -> str | None:
    program = ("-m", "faults.fast_clock", "1.5", "bulkhaul", "transfer")
    scene.site.start_worker(_FAST, program, PYTHONPATH=str(_TESTS))
    return None  # counted when it has a job


def _change_source(scene: Scene) -> str | None:
    datasets = scene.site.datasets
    under_way = [dataset for dataset in datasets if status_of(scene.site.joblist, dataset.job) == "ongoing"]
    done = change(scene.chance.choice(under_way or datasets), scene.chance)
    return f"source {done} during its transfer" if under_way else f"source {done}"


def _edit(scene: Scene) -> str | None:
    """A person reads a job file now and saves it later, with another status in line 1."""
    path = scene.site.job_file(scene.chance.choice(scene.site.datasets))
    _, _, rest = path.read_bytes().partition(b"\n")
    status = scene.chance.choice([b"todo", b"todo", b"error", b"ToDo \r", b"success"])
    in_place = scene.chance.random() < 0.5

    def save() -> None:
        if (path.parent / BALLAST).exists():
            return  # an editor without room damages the file by itself
        target = path if in_place else path.with_name(f".{path.name}.swp")
        target.write_bytes(status + b"\n" + rest)
        if not in_place:
            target.replace(path)
        scene.met["stale buffer saved"] += 1

    scene.later.append((time.monotonic() + scene.chance.uniform(0.2, 3.0), save))
    return None  # counted when it is saved


def _remove_state(scene: Scene) -> str | None:
    state = scene.site.joblist / ".bulkhaul"
    found = [*state.glob("heartbeat/*"), *state.glob("index"), *state.glob("rates"), *state.glob("probe/*.json")]
    if not found:
        return None
    path = scene.chance.choice(found)
    path.unlink(missing_ok=True)
    return f"{path.parent.name if path.parent != state else path.name} removed"


def _end_token(scene: Scene) -> str | None:
    if scene.desk is not None:
        down = scene.chance.random() < 0.3
        scene.desk.end_token(down=scene.chance.uniform(0.5, 3.0) if down else 0.0)
        scene.fates.plan_refusal("token ended")
    return None  # counted when S3 refuses it, and when STS is asked in vain


DEEDS: dict[Callable[[Scene], str | None], int] = {
    _wire: 12,
    _kill: 3,
    _stop: 2,
    _ask_to_stop: 1,
    _fill_disk: 1,
    _fail_joblist: 2,
    _fail_sources: 1,
    _false_date: 1,
    _jump: 2,
    _fast_clock: 1,
    _change_source: 1,
    _edit: 2,
    _remove_state: 2,
    _end_token: 2,
}
"""Each deed and how often it comes, relative to the others."""


def do_one(scene: Scene) -> None:
    """Do one deed at random."""
    starts = {_fail_joblist, _fail_sources, _false_date, _jump, _fast_clock}
    full = len(scene.site.running()) >= MOST_WORKERS
    deeds = [deed for deed in DEEDS if not (full and deed in starts)]
    deed = scene.chance.choices(deeds, [DEEDS[deed] for deed in deeds])[0]
    done = deed(scene)
    if done is not None:
        scene.met[done] += 1
