"""Many processes that try the same jobs at the same moment, each writing down what it believes to own.

Arguments: folder, number of processes, attempts of each, random seed. An owner counts as dead whenever chance says so,
so that each job is taken over again and again. Half of the attempts are made without locks; of these, half meet
*between* their look at the job and their link to its next number, so that all of them race for it.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, TextIO
from unittest.mock import patch

from bulkhaul.joblist.claiming import Claimer
from bulkhaul.joblist.heartbeat import Heartbeat, LeaseTimes, boot_seconds
from bulkhaul.joblist.job import Owner
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.liveness import Observer, this_owner
from bulkhaul.joblist.locks import file_lock
from bulkhaul.joblist.paths import JoblistPaths
from joblist.standing_inputs import no_lock

TRIES = 64  # of each process in one round
MEETINGS = 4  # at one job: its fourth owner gives it up, as the three before it count as dead
_GONE = 0.1  # of the looks at an owner
_YIELDS = 0.1  # of the ways from look to link; beside busy programs each costs their whole turn
_LONGEST_WAIT = 300.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """What all processes share."""

    folder: Path
    rounds: int
    seed: int
    start: Barrier
    meeting: Barrier


@dataclass(frozen=True, slots=True)
class Round:
    """What all processes do next: each tries each of `names` as often as `turns` says."""

    number: int

    @property
    def meets(self) -> bool:
        return self.number % 4 == 0

    @property
    def locked(self) -> bool:
        return self.number % 4 > 1

    @property
    def turns(self) -> int:
        return MEETINGS if self.meets else 1

    @property
    def names(self) -> list[str]:
        return [f"{self.number:06}-{place:02}" for place in range(TRIES // self.turns)]


class Member:
    """One process: all rounds of one worker; `own.<pid>` gets a line for each claim that it holds or has given up."""

    def __init__(self, crowd: Crowd, me: int) -> None:
        self._crowd = crowd
        self._me = me
        self._choice = random.Random(crowd.seed * 1_000 + me)
        self._paths = JoblistPaths(crowd.folder)
        self._owner = this_owner()
        self._meets = False
        times = LeaseTimes(86_400.0, 3_600.0)
        self._beats = Heartbeat(self._paths.heartbeat(self._owner.worker), times, clock=self._clock)
        self._beats.renew()

    def work(self) -> None:
        crowd = self._crowd
        with (crowd.folder.parent / f"own.{os.getpid()}").open("w") as own, counted_races() as raced:
            for number in range(crowd.rounds):
                if number % crowd.start.parties == self._me:
                    for name in Round(number).names:
                        Joblist(crowd.folder).add(name, source=Path("/data"))
                crowd.start.wait(_LONGEST_WAIT)
                self._play(Round(number), own)
            own.write(f"raced {len(raced)}\n")

    def _clock(self) -> float:
        # Asked between the look at a job and the link: here the others get their turn.
        if self._meets:
            self._crowd.meeting.wait(_LONGEST_WAIT)
        elif self._choice.random() < _YIELDS:
            os.sched_yield()
        return boot_seconds()

    def _gone(self, _owner: Owner) -> bool:
        return self._meets or self._choice.random() < _GONE

    def _play(self, play: Round, own: TextIO) -> None:
        lock = file_lock if play.locked else no_lock
        observer = Observer(self._paths, 86_400.0, self._gone)
        claimer = Claimer(self._paths, self._owner, lock=lock, heartbeat=self._beats, observer=observer)
        self._meets = play.meets
        for _ in range(play.turns):
            names = play.names
            if not play.meets:
                self._choice.shuffle(names)
            for name in names:
                claimer.give_up()  # what it holds from before: others may hold its owner for dead as well
                claim = claimer.claim(name)
                if claim is not None:
                    own.write(f"owns {name} {claim.generation}\n")
        self._meets = False


@contextmanager
def counted_races() -> Iterator[list[object]]:
    """A list that grows with each link of this process that found its name taken."""
    lost: list[object] = []
    link = os.link

    def counted(source: Any, target: Any, **more: Any) -> None:
        try:
            link(source, target, **more)
        except FileExistsError:
            lost.append(target)
            raise

    with patch("os.link", counted):
        yield lost


def main() -> None:
    folder, processes, attempts, seed = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    paths = JoblistPaths(folder)
    for each in (folder, *paths.folders()):
        each.mkdir(exist_ok=True)
    fork = get_context("fork")
    crowd = Crowd(folder, max(1, attempts // TRIES), seed, fork.Barrier(processes), fork.Barrier(processes))
    workers = [fork.Process(target=lambda me: Member(crowd, me).work(), args=(me,)) for me in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(any(worker.exitcode for worker in workers))


if __name__ == "__main__":
    main()
