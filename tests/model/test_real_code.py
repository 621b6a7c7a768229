"""The real code in random orders of its calls, beside the model: three workers, kills, sleeps, a person, lost files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from bulkhaul.errors import ClaimLost
from bulkhaul.joblist.claim import Claim
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.joblist import Joblist
from bulkhaul.joblist.paths import JoblistPaths
from bulkhaul.joblist.views import view_all
from faults.broken_link import link_over
from gated_calls import gated_calls
from joblist.standing_inputs import make_job
from model.strands import Clock, Hand, Lights, Strand, gate, told
from model.witness import SHOWN, Witness

JOBS = ("a", "b")
WORKERS = 3
EVENTS = (
    *("taken for dead", "taken for dead", "taken for dead", "killed", "beats", "time passes"),
    *("the index is deleted", "the heartbeat is deleted"),
)
DEEDS = ("saves todo", "saves todo", "opens", "saves error", "retries")
workers = st.integers(0, WORKERS - 1)
jobs = st.sampled_from(("a", "a", "a", "b"))
whats = st.integers(0, 11)
_LONGEST = 20_000


class Workers(RuleBasedStateMachine):
    """Each rule lets one worker make some calls, or does something to it or to the files."""

    link: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        memory = Path("/dev/shm")
        self._folder = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None))
        )
        self._paths = JoblistPaths(self._folder)
        self._clock = Clock()
        self._gone: set[str] = set()
        self._buffers: dict[str, bytes] = {}
        self._left: dict[str, bytes] = {}
        self._seed = 0
        self.joblist = Joblist(self._folder)
        for each in self._paths.folders():
            each.mkdir()
        for job in JOBS:
            make_job(self.joblist, job)
        self.witnesses = {job: Witness(self._folder, job) for job in JOBS}

    @initialize(exclude=st.booleans())
    def begin(self, exclude: bool) -> None:
        self._lights = Lights(exclude=exclude)
        self.hands = [self._hand() for _ in range(WORKERS)]
        if self.link is not None:
            self._stack.enter_context(patch.object(os, "link", type(self).link))
        self._stack.enter_context(gated_calls(self._folder, gate))

    def _hand(self) -> Hand:
        self._seed += 1
        return Hand(self._paths, self._clock, self._lights, gone=self._gone, seed=self._seed)

    @rule(worker=workers, job=jobs, what=whats, calls=st.integers(1, 60))
    def works(self, worker: int, job: str, what: int, calls: int) -> None:
        self._work(worker, job, what, calls)

    @rule(worker=workers, job=jobs, what=whats)
    def works_to_the_end(self, worker: int, job: str, what: int) -> None:
        self._work(worker, job, what, _LONGEST)

    def _work(self, worker: int, job: str, what: int, calls: int) -> None:
        hand = self.hands[worker]
        if hand.strand is None:
            hand.strand = Strand(told(self._deed(hand, job, what)))
        self._step(hand, calls)

    def _deed(self, hand: Hand, job: str, what: int) -> Callable[[], object]:
        claim = hand.claim
        if claim is None:
            return (lambda: hand.take(job), lambda: hand.take(job), hand.scan, hand.seek)[what % 4]
        how = ("success", "released", "error", "success", "log", "check")[what % 6]

        def deed() -> object:
            match how:
                case "log":
                    claim.log("4/4 files")
                case "check":
                    claim.progress(files=4, bytes=1, last="x")
                    claim.check()
                case "released":
                    claim.release("time limit")
                case _:
                    claim.end(Status(how), "all", facts={})
            return how

        return deed

    def _step(self, hand: Hand, calls: int) -> None:
        strand = hand.strand
        if strand is None:
            return
        strand.step(calls)
        for witness in self.witnesses.values():
            witness.look()
        if strand.over:
            hand.strand = None
            self._hear(hand, strand.result)

    def _hear(self, hand: Hand, result: object) -> None:
        claim = hand.claim
        if isinstance(result, Claim):
            self.witnesses[result.name].believes(hand.owner.worker, result.generation)
            hand.claim = result
        elif isinstance(result, ClaimLost):
            hand.claim = None
        elif isinstance(result, BaseException):
            raise result
        elif isinstance(result, str) and claim is not None and result in SHOWN:
            self.witnesses[claim.name].ended(hand.owner.worker, claim.generation, result)
            hand.claim = None

    @rule(worker=workers, job=jobs, event=st.sampled_from(EVENTS))
    def happens(self, worker: int, job: str, event: str) -> None:
        hand = self.hands[worker]
        match event:
            case "killed":
                self._kill(worker)
            case "beats" if hand.claimer.holding and not hand.beats._mutex.locked():
                hand.beats.renew()
            case "taken for dead":
                self._gone.add(hand.owner.worker)
            case "time passes":
                self._clock.now += 121.0
            case "the index is deleted":
                self._paths.index.unlink(missing_ok=True)
            case "the heartbeat is deleted":
                self._paths.heartbeat(hand.owner.worker).unlink(missing_ok=True)

    @rule(job=jobs, deed=st.sampled_from(DEEDS))
    def a_person(self, job: str, deed: str) -> None:
        path = self._paths.job(job)
        match deed:
            case "opens":
                self._buffers[job] = path.read_bytes()
            case "saves todo" | "saves error":
                self._save(path, self._buffers.pop(job, path.read_bytes()), deed.split()[-1])
            case "retries":
                for name in self.joblist.retry():
                    self._left[str(self._paths.job(name))] = self._paths.job(name).read_bytes()

    def _kill(self, worker: int) -> None:
        strand = self.hands[worker].strand
        if strand is not None:
            strand.kill()
            # Killed between a late write and its second look: line 1 may stay old.
            self._left.update({path: Path(path).read_bytes() for path in strand.wrote if path.endswith(".txt")})
        self.hands[worker] = self._hand()

    def _save(self, path: Path, text: bytes, word: str) -> None:
        new = b"\n".join([word.encode(), *text.split(b"\n")[1:]])
        path.write_bytes(new)
        self._left[str(path)] = new

    @invariant()
    def the_ledger_is_as_the_model_says(self) -> None:
        for witness in self.witnesses.values():
            witness.look()

    def teardown(self) -> None:
        try:
            if hasattr(self, "hands"):
                self._quieten()
        finally:
            for hand in getattr(self, "hands", []):
                if hand.strand is not None:
                    hand.strand.kill()
            self._stack.close()

    def _quieten(self) -> None:
        """All come to their ends; one scan; line 1 is right; and each job that nobody parked can be finished."""
        for hand in self.hands:
            self._step(hand, _LONGEST)
            assert not hand.busy, "it never ends"
        self.joblist.scan()
        for job, witness in self.witnesses.items():
            witness.look()
            path = self._paths.job(job)
            if witness.what not in ("", "claim") and self._left.get(str(path)) != path.read_bytes():
                assert witness.line == SHOWN[witness.what], "I5"
        self._gone.update(hand.owner.worker for hand in self.hands)
        last = self._hand()
        while (claim := last.seek()) is not None:
            claim.end(Status.SUCCESS, "all", facts={})
        self.joblist.scan()
        for view in view_all(self._paths, dead=lambda _owner: True):
            assert view.standing in ("ended", "parked", "unproven"), view
            assert view.standing == "ended" or str(self._paths.job(view.name)) in self._left, "a job was lost"


SETTINGS = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@pytest.mark.slow
def test_the_real_code_does_nothing_that_the_model_forbids() -> None:
    run_state_machine_as_test(Workers, settings=SETTINGS)


class WorkersOnBrokenLinks(Workers):
    link = staticmethod(link_over)


@pytest.mark.slow
def test_links_that_replace_each_other_are_noticed() -> None:
    few = settings(SETTINGS, phases=[Phase.generate], derandomize=True, max_examples=200)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(WorkersOnBrokenLinks, settings=few)
