"""The small files of one run on their way through sender processes; what these hand back goes through threads.

The processes know no rules, so nothing is lost when one dies: each file that it had is handed back too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bulkhaul.s3.token import Token
from bulkhaul.transfer.lanes import Halt
from bulkhaul.transfer.plan import Compare, Upload
from bulkhaul.transfer.senders import SenderHandle, Senders
from bulkhaul.transfer.spool import encode_batch
from bulkhaul.transfer.wire import Begin, Files, Finish, Finished, Pulse, Settled

_PULSE = 0.5  # seconds; `sender_process.STALE` is a multiple
_LOOK = 0.5  # seconds between two looks at the faults of others
_AHEAD = 128  # files that lie ready in a sender beside those in work
_SILENT = 120  # pulses without an answer, a minute: the process hangs, whatever its requests do
_LAST_WORDS = 2.0  # seconds beyond the grace of its requests in which a sender has to say that it has finished

Task = Upload | Compare


@dataclass(frozen=True, slots=True)
class Rules:
    """What a run tells its process lane: limits to keep, whom to ask, and where what comes back goes.

    `settled(tasks, report)` gets the tasks of the report's records; `returned` may wait for room. Both are called by
    threads of the lane and may raise what stops the run.
    """

    begin: Begin
    limit: Callable[[], int]
    token: Callable[[], Token]
    gate: Callable[[], None]
    settled: Callable[[Sequence[Task], Settled], None]
    returned: Callable[[Task], None]
    halt: Halt
    budget: int
    most_at_once: int


@dataclass(slots=True)
class _Share:
    """What one sender has of this run."""

    handle: SenderHandle
    tasks: dict[int, Task] = field(default_factory=dict)
    nbytes: int = 0
    limit: int = 0
    ended: bool = False
    unanswered: int = 0
    reader: threading.Thread | None = None


class ProcessLane:
    """Deals files out to the senders and takes in what they report; `put`, `drain` and `close` belong to one thread."""

    def __init__(self, senders: Senders, rules: Rules) -> None:
        self._senders = senders
        self._rules = rules
        self._shares: list[_Share] = []
        self._changed = threading.Condition()
        self._numbers = 0
        self._turn = 0
        self._closed = threading.Event()
        self._telling = threading.Lock()
        self._token: Token | None = None
        self._passed = 0.0
        self._pulse: threading.Thread | None = None

    def open(self, *, expecting: int) -> int:
        """How many senders live, for so many more small files; the first that do are made ready."""
        self._senders.expect(expecting)
        if not self._shares and (handles := self._senders.alive()):
            try:
                self._begin(handles)
            except RuntimeError:  # the node's limit of threads; the senders end and hand back, or never got anything
                for share in self._shares:
                    share.ended = True
                    self._senders.lost(share.handle)
        return sum(not share.ended for share in self._shares)

    def put(self, tasks: Sequence[Task]) -> None:
        """Give tasks to whichever sender has most room; wait for it.

        Raises:
            BaseException: the fault that stopped the run.
        """
        begun = 0
        while begun < len(tasks):
            share, given = self._give(tasks[begun:])
            if share is None:
                break
            share.handle.post(Files(self._numbers - len(given), encode_batch(given)))
            begun += len(given)
        for task in tasks[begun:]:
            self._rules.returned(task)

    def drain(self) -> None:
        """Wait until each file has been settled or handed back.

        Raises:
            BaseException: the fault that stopped the run.
        """
        self._wait_until(lambda: not any(share.tasks for share in self._shares))

    def close(self, *, until: float) -> None:
        """Drop what is queued, wait for what is in flight until that moment; the senders are ready for a next run."""
        self._closed.set()
        for share in self._shares:
            share.handle.post(Finish())
        for share in self._shares:
            if share.reader is not None:
                share.reader.join(max(0.0, until + _LAST_WORDS - time.monotonic()))
                if share.reader.is_alive():
                    share.handle.kill()
                    share.reader.join(_LAST_WORDS)
        if self._pulse is not None:
            self._pulse.join(_PULSE)  # it may be asking for new keys, and needs none any more

    def _begin(self, handles: Sequence[SenderHandle]) -> None:
        self._rules.gate()
        self._passed = time.monotonic()
        self._token = self._rules.token()
        # No more senders than requests at once.
        self._shares = [_Share(handle) for handle in handles[: self._rules.most_at_once]]
        for share in self._shares:
            share.handle.post(self._rules.begin)
            reader = threading.Thread(target=self._read, args=(share,), name="sender-reader", daemon=True)
            reader.start()
            share.reader = reader
        self._tell_limits(always=True)
        self._pulse = threading.Thread(target=self._beat, name="sender-pulse", daemon=True)
        self._pulse.start()

    def _give(self, tasks: Sequence[Task]) -> tuple[_Share | None, list[Task]]:
        """Wait for room; the sender that has it and the tasks it gets; None when no sender lives."""

        def ready() -> bool:
            return all(share.ended for share in self._shares) or self._roomiest(tasks) is not None

        while True:
            self._wait_until(ready)
            with self._changed:
                if (share := self._roomiest(tasks)) is not None:
                    return share, self._register(share, tasks)
                if all(share.ended for share in self._shares):
                    return None, []

    def _roomiest(self, tasks: Sequence[Task]) -> _Share | None:
        """The sender with most room, if that is enough to be worth a message and the first task fits its memory."""
        room = [
            (share.limit + _AHEAD - len(share.tasks), number)
            for number, share in enumerate(self._shares)
            if share.limit and not share.ended and self._fits(share, tasks[0])
        ]
        most, number = max(room, default=(0, 0))
        return self._shares[number] if most >= min(len(tasks), _AHEAD // 2) else None

    def _fits(self, share: _Share, task: Task) -> bool:
        return not share.nbytes or share.nbytes + task.file.size <= self._rules.budget // len(self._shares)

    def _register(self, share: _Share, tasks: Sequence[Task]) -> list[Task]:
        """Note as many of `tasks` as are this sender's part and fit its memory as given to it; return these."""
        part = -(-len(tasks) // sum(not share.ended for share in self._shares))
        given: list[Task] = []
        for task in tasks[:part]:
            if not self._fits(share, task):
                break
            share.tasks[self._numbers] = task
            share.nbytes += max(1, task.file.size)
            self._numbers += 1
            given.append(task)
        return given

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait, and look at the gate meanwhile: threads that hang in requests never ask it."""
        while True:
            with self._changed:
                if ready():
                    return
                self._changed.wait(_LOOK)
            if self._rules.halt.error is not None:
                raise self._rules.halt.error
            self._rules.gate()

    def _beat(self) -> None:
        """Twice a second: ask the gate on behalf of the senders, and tell them to go on, with fresh keys."""
        try:
            while not self._closed.wait(_PULSE):
                self._rules.gate()
                self._passed = time.monotonic()
                self._token = self._rules.token()
                self._tell_limits(always=True)
                for share in self._shares:
                    share.unanswered += 1
                    if share.unanswered > _SILENT and not share.ended:
                        share.handle.kill()  # its reader sees the end, and hands back what it had
        except BaseException as error:  # noqa: BLE001 - a thread hands whatever ended it to the run
            self._rules.halt.set(error)

    def _tell_limits(self, *, always: bool = False) -> None:
        with self._telling:
            assert self._token is not None, "told before the lane is open"
            limit, count = self._rules.limit(), len(self._shares)
            # Fewer requests than senders: they take turns, or what one of them has would lie there for good.
            self._turn += always and limit < count
            for number, share in enumerate(self._shares):
                part = (limit + (number + self._turn) % count) // count
                if always or part != share.limit:
                    share.limit = part
                    share.handle.post(Pulse(part, self._token, self._passed))

    def _read(self, share: _Share) -> None:
        try:
            while isinstance(message := share.handle.receive(), Settled):
                self._take_in(share, message)
            if not isinstance(message, Finished):
                self._lose(share)
        except BaseException as error:  # noqa: BLE001 - a thread hands whatever ended it to the run
            self._rules.halt.set(error)
            # The run is over, the sender is not: `close` asks it for its last word, which must not reach the next run.
            while isinstance(share.handle.receive(), Settled):
                pass
        finally:
            with self._changed:
                share.ended = True
                share.tasks.clear()
                self._changed.notify_all()

    def _take_in(self, share: _Share, report: Settled) -> None:
        share.unanswered = 0
        self._rules.settled([share.tasks[number] for number, _, _ in report.records], report)
        self._hand_back(share, report.returned)
        self._forget(share, [number for number, _, _ in report.records])
        self._tell_limits()

    def _lose(self, share: _Share) -> None:
        with self._changed:
            share.ended = True  # from here on nothing more is given to it
            left = list(share.tasks)
        self._senders.lost(share.handle)
        self._hand_back(share, left)

    def _hand_back(self, share: _Share, numbers: Sequence[int]) -> None:
        if not self._closed.is_set():
            for number in numbers:
                self._rules.returned(share.tasks[number])
        self._forget(share, numbers)

    def _forget(self, share: _Share, numbers: Sequence[int]) -> None:
        with self._changed:
            for number in numbers:
                share.nbytes -= max(1, share.tasks.pop(number).file.size)
            self._changed.notify_all()
