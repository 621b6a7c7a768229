"""Virtual time: processes are generators that yield how many seconds they let pass; one runs at a time, in order."""

from __future__ import annotations

import heapq
from collections.abc import Generator

Process = Generator[float, None, None]


class Task:
    """A running process; it may be killed, or frozen for a while like a suspended machine."""

    __slots__ = ("alive", "frozen_until", "process")

    def __init__(self, process: Process) -> None:
        self.process = process
        self.alive = True
        self.frozen_until = 0.0

    def kill(self) -> None:
        """End it between two of its steps, without a word to anybody."""
        self.alive = False
        self.process.close()


class World:
    """The clock and the queue of what comes next; ties go by the order of asking, so a run repeats exactly."""

    def __init__(self) -> None:
        self.now = 0.0
        self._count = 0
        self._queue: list[tuple[float, int, Task]] = []

    def clock(self) -> float:
        """Seconds since the beginning."""
        return self.now

    def start(self, process: Process, *, after: float = 0.0) -> Task:
        """Begin a process after some seconds."""
        task = Task(process)
        self._push(after, task)
        return task

    def run(self) -> None:
        """Let time pass until nothing is left to happen."""
        queue = self._queue
        while queue:
            at, _, task = heapq.heappop(queue)
            if not task.alive:
                continue
            if task.frozen_until > at:
                self._push(task.frozen_until - self.now, task)
                continue
            self.now = at
            try:
                seconds = next(task.process)
            except StopIteration:
                task.alive = False
            else:
                self._push(seconds, task)

    def _push(self, after: float, task: Task) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + after, self._count, task))
