"""What a run measured for one claim of docs/reliability.md, and the file that keeps all of them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

CHECKOUT = Path(__file__).parents[2]
RESULTS = CHECKOUT / "docs" / "reliability" / "results.jsonl"
Fact = int | float | str


@dataclass(frozen=True, slots=True)
class Figure:
    """`failures` of `trials`, made from the random `seed`; `facts` are other numbers, by their name on the page."""

    claim: str
    trials: int
    failures: int
    seed: int
    facts: dict[str, Fact] = field(default_factory=dict)


class Code(TypedDict):
    """What a run runs: the commit, and whether files of the package or the tests differ from it."""

    commit: str
    changed: bool


def present_code() -> Code:
    """The code as it is now; to be asked before a run, since a commit may be made meanwhile."""
    changed = bool(_git("status", "--porcelain", "--", "src", "tests"))
    return Code(commit=_git("rev-parse", "--short=10", "HEAD"), changed=changed)


def keep(figure: Figure, code: Code, *, command: str, seconds: float, results: Path = RESULTS) -> None:
    """Append `figure` to the results, with the code and the command that made it and its time."""
    kept = {
        **asdict(figure),
        "command": command,
        **code,
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(seconds, 1),
    }
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(kept) + "\n")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()
