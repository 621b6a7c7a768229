"""Every order of steps that a few workers, kills and one person can produce at one job; explored to the end.

Any worker may sleep before any step for as long as the others like, any lease may be judged expired at any moment, any
worker may be killed between two steps, and no lock excludes anyone. What remains is the ledger: names that are linked
if absent, and a compaction that removes names while others sleep.

The ghost `top` is the highest number ever published; it is what the protocol must find and never reuse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

# Steps of a worker.
IDLE, DECIDED, LINKED, OWNER, ONGOING, SENDING, ENDING, ENDED, WRITTEN, SHOWN, SECOND_LINK, RENAMED, DEAD = range(13)
REPAIRING, REPAIRED = 13, 14
CLAIM = "claim"
SHOWN_AS = {CLAIM: "ongoing", "success": "success", "error": "error", "released": "todo"}


@dataclass(frozen=True, slots=True)
class Worker:
    """Where one worker is: its number, the status that it ends with, how far its compaction is."""

    at: int = IDLE
    number: int = 0
    end: str = ""
    reused: bool = False
    next_removed: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """Names of the ledger as (name, number told, what), line 1, the ghosts, the workers, what a person may still do.

    More ghosts: a person `typed` what stands on line 1; somebody was killed and `left` what it had written too late.
    """

    names: tuple[tuple[int, int, str], ...] = ()
    line: str = "todo"
    top: int = 0
    what: str = ""
    broken: str = ""
    workers: tuple[Worker, ...] = (Worker(), Worker())
    edits: int = 2
    buffer: bool = False
    typed: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What is switched off shows what it is good for."""

    ledger: bool = True
    keeps_first: bool = True
    asks_predecessor: bool = True
    looks_again: bool = True
    most: int = 6


Step = tuple[str, World]


def explore(rules: Rules, *, most: int = 2_000_000) -> tuple[set[World], list[str]]:
    """All reachable worlds, and the shortest way to a broken one (empty: there is none)."""
    first = World()
    came: dict[World, tuple[World, str] | None] = {first: None}
    queue = deque([first])
    while queue:
        world = queue.popleft()
        if world.broken:
            return set(came), _way(came, world)
        for label, after in steps(world, rules):
            if after not in came:
                came[after] = (world, label)
                queue.append(after)
        assert len(came) <= most, "the model is too large"
    return set(came), []


def _way(came: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    labels = [world.broken]
    while (back := came[world]) is not None:
        world, label = back
        labels.append(label)
    return labels[::-1]


def look(world: World) -> tuple[int, str]:
    """The newest number and what it says, found as the ledger module finds it."""
    told = {name: (number, what) for name, number, what in world.names}
    if 1 not in told:
        return 0, ""
    newest = told[1][0]
    while newest + 1 in told:
        newest += 1
    if newest not in told or told[newest][0] != newest:
        newest = max(told)
    return newest, told[newest][1]


def steps(world: World, rules: Rules) -> Iterator[Step]:
    """Everything that may happen next."""
    for index, worker in enumerate(world.workers):
        for label, after, new in _worker_steps(world, worker, rules):
            workers = (*world.workers[:index], new, *world.workers[index + 1 :])
            yield f"{index} {label}", replace(after, workers=workers)
        if worker.at not in (IDLE, DEAD):
            killed = replace(Worker(), at=DEAD)
            # Before the second look; or before its claim is shown, over an end shown after the person's `todo`.
            late = worker.at in (ONGOING, WRITTEN, REPAIRED) and worker.number != world.top
            late |= worker.at in (LINKED, OWNER) and world.line in ("error", "success")
            after = replace(world, workers=_with(world.workers, index, killed), left=world.left or late)
            yield f"{index} is killed", after
    yield from _person(world)


def _with(workers: tuple[Worker, ...], index: int, new: Worker) -> tuple[Worker, ...]:
    return (*workers[:index], new, *workers[index + 1 :])


def _person(world: World) -> Iterator[Step]:
    if world.edits and not world.buffer and world.line in ("error", "success"):
        yield "a person opens the job file", replace(world, buffer=True)
    if world.buffer:
        yield "the person saves todo", replace(world, buffer=False, line="todo", edits=world.edits - 1, typed=True)


WorkerStep = tuple[str, World, Worker]


def _worker_steps(world: World, worker: Worker, rules: Rules) -> Iterator[WorkerStep]:
    handlers: dict[int, Callable[[World, Worker, Rules], Iterator[WorkerStep]]] = {
        IDLE: _idle,
        DECIDED: _link_claim,
        LINKED: _check_claim,
        OWNER: _show_ongoing,
        ONGOING: _look_again,
        SENDING: _link_end,
        ENDING: _check_end,
        ENDED: _show_end,
        WRITTEN: _look_again,
        REPAIRING: _repair,
        REPAIRED: _look_again,
        SHOWN: _begin_compaction,
        SECOND_LINK: _rename_to_first,
        RENAMED: _remove_next,
    }
    if worker.at in handlers:
        yield from handlers[worker.at](world, worker, rules)


def _idle(world: World, _worker: Worker, rules: Rules) -> Iterator[WorkerStep]:
    newest, what = look(world)
    free = world.line == "todo" and (newest == 0 or what != CLAIM)
    # A lease may be judged expired at any time, rightly or not.
    if (free or what == CLAIM) and newest < rules.most - 1:
        yield f"decides on {newest + 1}", world, Worker(DECIDED, newest + 1)
    lags = what not in ("", CLAIM) and world.line not in ("todo", SHOWN_AS[what])
    if lags and (what != "released" or world.line == "ongoing"):
        yield "goes to repair line 1", world, Worker(REPAIRING, newest, what)


def _link(world: World, worker: Worker, what: str, rules: Rules) -> World | None:
    taken = any(name == worker.number for name, _, _ in world.names)
    if taken and rules.ledger:
        return None
    names = tuple(sorted({*world.names, (worker.number, worker.number, what)}))
    if worker.number <= world.top:
        return replace(world, names=names)
    return replace(world, names=names, top=worker.number, what=what)


def _link_claim(world: World, worker: Worker, rules: Rules) -> Iterator[WorkerStep]:
    after = _link(world, worker, CLAIM, rules)
    if after is None:
        yield "finds the number taken", world, Worker()
    else:
        yield "links the claim", after, replace(worker, at=LINKED, reused=worker.number <= world.top)


def _predecessor_stands(world: World, number: int) -> bool:
    return number == 1 or any(name == told == number - 1 for name, told, _ in world.names)


def _withdraw(world: World, worker: Worker) -> World:
    return replace(world, names=tuple(entry for entry in world.names if entry[:2] != (worker.number, worker.number)))


def _check_claim(world: World, worker: Worker, rules: Rules) -> Iterator[WorkerStep]:
    if rules.asks_predecessor and not _predecessor_stands(world, worker.number):
        yield "finds its predecessor gone", _withdraw(world, worker), Worker()
    else:
        broken = "A NUMBER WAS USED TWICE" if worker.reused else ""
        yield "is sure of its claim", replace(world, broken=broken), replace(worker, at=OWNER)


def _show_ongoing(world: World, worker: Worker, _rules: Rules) -> Iterator[WorkerStep]:
    # In the program a look at the ledger comes first; the model lets it be old.
    yield "shows ongoing", replace(world, line="ongoing", typed=False), replace(worker, at=ONGOING)


def _look_again(world: World, worker: Worker, rules: Rules) -> Iterator[WorkerStep]:
    compacts = worker.end == "success" and worker.number > 2
    next_one = replace(worker, at=SENDING) if worker.at == ONGOING else replace(worker, at=SHOWN)
    if worker.at == REPAIRED or (worker.at == WRITTEN and not compacts):
        next_one = Worker()
    if worker.number == world.top or not rules.looks_again:
        yield "goes on", world, next_one
    elif world.line == SHOWN_AS[worker.end or CLAIM]:
        yield "takes back what it wrote too late", replace(world, line=SHOWN_AS[world.what], typed=False), Worker()
    else:
        yield "finds another's word", world, Worker()


def _link_end(world: World, worker: Worker, rules: Rules) -> Iterator[WorkerStep]:
    yield "goes to write a line of the log", world, replace(worker, at=OWNER)
    for end in ("success", "error", "released"):
        ending = Worker(ENDING, worker.number + 1, end, reused=worker.number + 1 <= world.top)
        after = _link(world, ending, end, rules)
        if after is None:
            yield "is superseded", world, Worker()
        else:
            yield f"links {end}", after, ending


def _check_end(world: World, worker: Worker, rules: Rules) -> Iterator[WorkerStep]:
    if rules.asks_predecessor and not _predecessor_stands(world, worker.number):
        yield "finds its claim gone", _withdraw(world, worker), Worker()
    else:
        broken = "A SUPERSEDED WORKER ENDED THE JOB" if worker.reused else ""
        yield "is sure of its end", replace(world, broken=broken), replace(worker, at=ENDED)


def _show_end(world: World, worker: Worker, _rules: Rules) -> Iterator[WorkerStep]:
    shown = SHOWN_AS[worker.end]
    yield f"shows {shown}", replace(world, line=shown, typed=False), replace(worker, at=WRITTEN)


def _repair(world: World, worker: Worker, _rules: Rules) -> Iterator[WorkerStep]:
    shown = SHOWN_AS[worker.end]
    yield f"repairs line 1 to {shown}", replace(world, line=shown, typed=False), replace(worker, at=REPAIRED)


def _begin_compaction(world: World, worker: Worker, _rules: Rules) -> Iterator[WorkerStep]:
    if any(name == worker.number - 1 for name, _, _ in world.names):
        yield "links the last claim a second time", world, replace(worker, at=SECOND_LINK)
    else:
        yield "finds the ledger compacted further", world, Worker()


def _rename_to_first(world: World, worker: Worker, rules: Rules) -> Iterator[WorkerStep]:
    others = tuple(entry for entry in world.names if entry[0] != 1)
    first = ((1, worker.number - 1, CLAIM),) if rules.keeps_first else ()
    yield (
        "puts the first name on the last claim",
        replace(world, names=tuple(sorted((*first, *others)))),
        replace(worker, at=RENAMED, next_removed=2),
    )


def _remove_next(world: World, worker: Worker, _rules: Rules) -> Iterator[WorkerStep]:
    if worker.next_removed >= worker.number - 1:
        yield "has compacted", world, Worker()
        return
    names = tuple(entry for entry in world.names if entry[0] != worker.next_removed)
    yield (
        f"removes {worker.next_removed}",
        replace(world, names=names),
        replace(worker, next_removed=worker.next_removed + 1),
    )
