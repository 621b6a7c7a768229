"""`make reliability`: docs/reliability.md, made of the results and the bugs that lie beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.figure import RESULTS

PAGE = RESULTS.parents[1] / "reliability.md"
BUGS = RESULTS.with_name("bugs.jsonl")
Run = dict[str, Any]
Cells = Sequence[str]

INTRODUCTION = """# Reliability

Made by `make reliability` of [what was measured](reliability/results.jsonl) and
[what was found](reliability/bugs.jsonl); no figure here is written by hand. Workers are real processes; what they send
goes to a real S3 server, but for the throttled one, which is a stub. Claims, wakes and the joblist's cut points ran on
a file system in memory, SLURM's tasks on a real cluster of one machine. Where nothing failed in N trials, the rate of
failure is below 3/N with 95 % confidence. What ran before the last failure of a kind does not count, nor does what ran
again on the commit that failed; the failure stands below with its mending. Nothing was tried on Amazon's S3, NFS or
Lustre.
"""
CAMPAIGN = """## What a campaign is

Three to six workers on one joblist of about a thousand files, behind a proxy that breaks exchanges at any byte, on a
small disk of its own; at least twenty faults at random. Then a judge that shares no code with bulkhaul walks the tree,
lists the bucket, reads each object and compares SHA-256; everything is started again without faults, and it judges
anew: no false success, no lost job, no damaged job file, no number of the ledger with two owners, line 1 as the ledger
says, manifest = tree = S3, no upload of ours left, nobody else's touched, no traceback, no exit code that no page
names. A campaign's random seed is the run's first seed and its number in the run.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One claim of the table: whose results count, what was asked, what the trials are, how facts begin that it shows.

    `of` is the fact that counts the trials where they are not the run's own.
    """

    title: str
    claim: str
    asked: str
    unit: str = "trials"
    of: str = ""
    facts: tuple[str, ...] = field(default=())


ROWS = (
    Row("No false success", "campaigns", "0 in 1,000 campaigns", "campaigns"),
    Row("the same, by object", "campaigns", "0 of 10^6 objects", "objects", of="objects judged", facts=("of them",)),
    Row("No lost job, no damaged job file", "campaigns", "0 in the same", "jobs", of="jobs"),
    Row("No double claim", "double claims", "0 in 10^6 attempts of 64 processes", "attempts"),
    Row(
        "No stale commit after SIGSTOP",
        "stale commits after SIGSTOP",
        "0 in 1,000 wakes",
        "wakes beside a successor",
        of="taken_over",
    ),
    Row(
        "Cut points of the joblist's operations recover",
        "cut points of the joblist's operations that do not recover",
        "each one",
        "cut points",
        facts=("all: ", "cut points in all"),
    ),
    Row(
        "Cut points of a transfer's requests recover",
        "requests of a transfer at which a killed worker leaves what does not recover",
        "each one",
        "kills",
        facts=("cut points in all",),
    ),
    Row(
        "A dead worker's job is taken over",
        "reclaim of a dead worker",
        "same host 5 s, silent node TTL + one scan",
        facts=("",),
    ),
    Row("A dead SLURM job's too", "reclaim of a dead worker: dead SLURM job", "one scan (30 s)", facts=("",)),
    Row("Flipped bits are caught", "bit flips in transit", "10,000 of 10,000", "flips not caught"),
    Row(
        "A throttled server",
        "throttled server at R requests/s",
        "90 % of R, 10 % refused after 30 s, Jain's index 0.95 over 8 workers",
        "rates",
        facts=("",),
    ),
    Row("Short tokens (20 s)", "short tokens", "30 rotations within one file, 0 failed files", "files", facts=("",)),
    Row("False clocks", "clock skew", "0 early, 0 missed", "reclaims", facts=("",)),
)


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(lines_of(RESULTS), lines_of(BUGS)), encoding="utf-8")


def lines_of(path: Path) -> list[Run]:
    """The values of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def render(runs: Sequence[Run], bugs: Sequence[Run]) -> str:
    """The page (pure)."""
    counted = {row.claim: since_last_failure(runs, row.claim) for row in ROWS}
    blocks = [INTRODUCTION, "## Figures\n", _table(("claim", "asked", "found", "last command"), _rows(counted))]
    blocks += [CAMPAIGN, _table(("fault", "times"), _faults(counted["campaigns"]))]
    blocks += ["## Bugs that were found on the way\n"]
    blocks += [_table(("what", "seen by", "mended by"), ((bug["what"], bug["seen"], bug["fix"]) for bug in bugs))]
    blocks += ["## Runs\n", _table(("when", "claim", "commit", "seed", "trials", "failed", "minutes"), map(_run, runs))]
    return "\n".join(blocks)


def since_last_failure(runs: Sequence[Run], claim: str) -> list[Run]:
    """The runs of `claim` that count: those after the last one with a failure, and of another commit (pure).

    A run that is only repeated until it goes well proves nothing; nor does one of changes that no commit has.
    """
    own = [run for run in runs if run["claim"] == claim]
    failed = [index for index, run in enumerate(own) if run["failures"]]
    broken = {own[index]["commit"] for index in failed}
    after = own[failed[-1] + 1 :] if failed else own
    return [run for run in after if run["commit"] not in broken and not run["changed"]]


def _rows(counted: dict[str, list[Run]]) -> Iterator[Cells]:
    for row in ROWS:
        runs = counted[row.claim]
        if not runs:
            yield row.title, row.asked, "not measured", ""
            continue
        trials = sum(run["facts"][row.of] if row.of else run["trials"] for run in runs)
        found = f"0 of {trials:,} {row.unit} (95 %: below {_bound(trials)})"
        newest = runs[-1]["facts"]
        facts = [f"{name}: {value}" for name, value in newest.items() if name.startswith(row.facts)]
        yield row.title, row.asked, "; ".join([found, *facts]), f"`{runs[-1]['command']}`"


def _bound(trials: int) -> str:
    if trials > 10_000:
        return f"{3 / trials:.1e}"
    # Below some thirty trials 3/N is more than the truth, and at three it says nothing at all.
    return f"{100 * (1 - 0.05 ** (1 / trials)) if trials < 30 else 300 / trials:.2g} %"


def _faults(campaigns: Sequence[Run]) -> Iterator[Cells]:
    counts: Counter[str] = Counter()
    for run in campaigns:
        faults = ((name, count) for name, count in run["facts"].items() if name.startswith("fault: "))
        counts.update({name.removeprefix("fault: "): count for name, count in faults})
    yield from ((name, f"{count:,}") for name, count in counts.most_common())
    yield "together", f"{counts.total():,}"


def _run(run: Run) -> Cells:
    commit = run["commit"] + (" and changes" if run["changed"] else "")
    minutes = f"{run['seconds'] / 60:.1f}"
    return run["when"], run["claim"], commit, str(run["seed"]), f"{run['trials']:,}", str(run["failures"]), minutes


def _table(head: Cells, rows: Iterator[Cells] | map[Cells]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
