"""What is cut: each operation on a joblist, by the real code, in a process that goes on after a failure.

An operation makes what it needs and yields what is to be cut; that returns the exit code. What the worker believes to
have goes to standard output as JSON lines, what a person would read to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from bulkhaul.cli.app import main
from bulkhaul.errors import StorageError
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.ledger import End, new_record, publish
from bulkhaul.joblist.liveness import this_owner
from faults.cutting.trial_worker import (
    STORAGE_FAILED,
    Worker,
    claimed,
    end_claim,
    joblist_of,
    say_error,
    worker_at,
)
from joblist.standing_inputs import dead_owner, go_on, make_job

Act = Callable[[], int]
Operation = Callable[[Path], AbstractContextManager[Act]]

JOBS = ("a", "b")
OTHERS = tuple(f"c{number:02}" for number in range(12))


def _make_jobs(folder: Path, names: tuple[str, ...] = JOBS) -> None:
    for name in names:
        make_job(joblist_of(folder), name)


def command(*arguments: str) -> int:
    """Run `bulkhaul` with `arguments` as its own program does; its exit code."""
    sys.argv = ["bulkhaul", *arguments]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _extract(folder: Path) -> int:
    arguments = ("--layout", "folders", "-o", str(folder / "joblist"), "--target", "s3://bucket/prefix")
    return command("extract", "-i", str(folder / "results"), *arguments)


@contextmanager
def extract(folder: Path) -> Iterator[Act]:
    """The joblist is made."""
    _make_results(folder, JOBS)
    yield lambda: _extract(folder)


@contextmanager
def extend(folder: Path) -> Iterator[Act]:
    """One dataset more, in a joblist that a worker has seen."""
    _make_results(folder, JOBS[:1])
    assert _extract(folder) == 0
    with worker_at(folder):
        pass
    _make_results(folder, JOBS[1:])
    yield lambda: _extract(folder)


def _make_results(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        dataset = folder / "results" / name
        dataset.mkdir(parents=True, exist_ok=True)
        (dataset / "file").write_bytes(b"x")


@contextmanager
def first_claim(folder: Path) -> Iterator[Act]:
    """The first worker comes: its folders, its heartbeat, its claim without an index."""
    _make_jobs(folder)
    with ExitStack() as stack:

        def act() -> int:
            try:
                worker = stack.enter_context(worker_at(folder))
            except StorageError as error:
                say_error(error)
                worker = stack.enter_context(worker_at(folder))
                worker.code = STORAGE_FAILED
            assert worker.claim() is not None
            return worker.code

        yield act


@contextmanager
def claim(folder: Path) -> Iterator[Act]:
    """A worker that has ended a job claims the next."""
    _make_jobs(folder)
    with worker_at(folder) as worker:
        claimed(worker).end(Status.SUCCESS, "all", facts={})
        yield lambda: _claim(worker)


def _claim(worker: Worker) -> int:
    assert worker.claim() is not None
    return worker.code


@contextmanager
def take_over(folder: Path) -> Iterator[Act]:
    """A job whose owner is dead is claimed."""
    _make_jobs(folder, JOBS[:1])
    with worker_at(folder, dead_owner()) as dead:
        claimed(dead)
    with worker_at(folder) as worker:
        yield lambda: _claim(worker)


@contextmanager
def third_death(folder: Path) -> Iterator[Act]:
    """A job that three workers have died of is ended instead of claimed."""
    _make_jobs(folder, JOBS[:1])
    for _ in range(3):
        with worker_at(folder, dead_owner()) as dead:
            claimed(dead)
    with worker_at(folder) as worker:

        def act() -> int:
            worker.claim()
            return worker.code

        yield act


@contextmanager
def beat(folder: Path) -> Iterator[Act]:
    """A beat, with the look at the ledger that belongs to it."""
    with _holding(folder) as (worker, held):

        def act() -> int:
            worker.beat(held)
            return worker.code

        yield act


@contextmanager
def log(folder: Path) -> Iterator[Act]:
    """A line of progress."""
    with _holding(folder) as (worker, held):

        def act() -> int:
            worker.log(held)
            return worker.code

        yield act


@contextmanager
def _holding(folder: Path) -> Iterator[tuple[Worker, Claim]]:
    # A second claim: its end finds something to compact.
    _make_jobs(folder, JOBS[:1])
    with worker_at(folder) as worker:
        claimed(worker).release("once before")
        yield worker, claimed(worker)


def _ending(end: End) -> Operation:
    @contextmanager
    def ending(folder: Path) -> Iterator[Act]:
        with _holding(folder) as (worker, held):

            def act() -> int:
                worker.end(held, end)
                return worker.code

            yield act

    return ending


@contextmanager
def go_home(folder: Path) -> Iterator[Act]:
    """Nothing is left: a last scan with its index, and the worker leaves."""
    _make_jobs(folder, JOBS[:1])
    with ExitStack() as stack:
        worker = stack.enter_context(worker_at(folder))
        claimed(worker).end(Status.SUCCESS, "all", facts={})

        def act() -> int:
            assert worker.claim() is None
            stack.close()
            return worker.code

        yield act


def _lagging(*, with_index: bool) -> Operation:
    """A summary that finds a first line behind its ledger."""

    @contextmanager
    def lagging(folder: Path) -> Iterator[Act]:
        _make_jobs(folder, JOBS[:1])
        joblist = joblist_of(folder)
        owner = this_owner()
        with joblist.session(owner) as session:
            held = session.claim_next(go_on)
            assert held is not None
            # So many that one that has changed is not worth a new index.
            _make_jobs(folder, OTHERS)
            joblist.scan()
            if not with_index:
                joblist.state_path("index").unlink()
            record = new_record(held.name, held.generation + 1, owner, end=End.ERROR, text="no such bucket")
            assert publish(joblist.state_path("ledger"), record)
        yield lambda: command("summarise", "-i", str(folder / "joblist"))

    return lagging


@contextmanager
def retry(folder: Path) -> Iterator[Act]:
    """A job in `error` is set back."""
    _make_jobs(folder, JOBS[:1])
    with worker_at(folder) as worker:
        claimed(worker).end(Status.ERROR, "no such bucket", facts={})
    _make_jobs(folder, JOBS[1:])
    yield lambda: command("retry", "-i", str(folder / "joblist"))


def _work(folder: Path) -> int:
    with worker_at(folder) as worker:
        while (held := worker.claim()) is not None:
            end_claim(held, End.SUCCESS)
    return worker.code


def _standing(act: Callable[[Path], int]) -> Operation:
    @contextmanager
    def standing(folder: Path) -> Iterator[Act]:
        yield lambda: act(folder)

    return standing


CUT: dict[str, Operation] = {
    "extract": extract,
    "extend": extend,
    "first claim": first_claim,
    "claim": claim,
    "take over": take_over,
    "third death": third_death,
    "beat": beat,
    "log": log,
    "end success": _ending(End.SUCCESS),
    "end error": _ending(End.ERROR),
    "release": _ending(End.RELEASED),
    "go home": go_home,
    "scan": _lagging(with_index=False),
    "scan by index": _lagging(with_index=True),
    "retry": retry,
}
"""What is cut."""

RECOVERY: dict[str, Operation] = {
    "extract again": _standing(_extract),
    "summarise": _standing(lambda folder: command("summarise", "-i", str(folder / "joblist"))),
    "retry again": _standing(lambda folder: command("retry", "-i", str(folder / "joblist"))),
    "work": _standing(_work),
}
"""What people and workers do afterwards, on what is there; each ends with 0."""
