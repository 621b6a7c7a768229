"""A seeker driven step by step by a test that gives the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bulkhaul.joblist.seeking import Seeker, Step


def drive(seeker: Seeker, answer_to: Callable[[Step], Any]) -> bool:
    """Answer each step until the seeker ends; whether it claimed a job."""
    steps = seeker.steps()
    answer: Any = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return bool(end.value)
        answer = answer_to(step)
