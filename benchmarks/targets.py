"""What was to be reached, as data, and how near the results came. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from figures import by_program, number, ratio

Results = Mapping[str, Any]
Measure = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Target:
    """`what` is at least or at most `bound`, in `unit`; `aim` is the better figure that was hoped for.

    `why` is said where it was not reached.
    """

    what: str
    measure: Measure
    bound: float
    unit: str
    least: bool = False
    aim: float | None = None
    why: str = ""

    @property
    def wanted(self) -> str:
        """The bound in words."""
        words = f"{'≥' if self.least else '≤'} {self.bound:g} {self.unit}"
        return words if self.aim is None else f"{words} (aim {self.aim:g})"

    def verdict(self, found: float | None) -> str:
        """Whether `found` is enough, or how near it came."""
        if found is None:
            return "not measured"
        if self._holds(found, self.bound):
            return "reached, and the aim" if self.aim is not None and self._holds(found, self.aim) else "reached"
        near = f"{found / self.bound:.2f} of it" if self.least else _beyond(found, self.bound)
        return f"**not reached**: {near}{f'; {self.why}' if self.why else ''}"

    def _holds(self, found: float, bound: float) -> bool:
        return found >= bound if self.least else found <= bound


def _beyond(found: float, bound: float) -> str:
    return f"{found / bound:.2f} times that" if bound else f"{found:g}"


def whole(results: Results) -> Results:
    """The results without what was measured with a part of the files: nothing is judged by that."""
    bench, reports = results["bench"], results["reports"]
    return {
        "bench": {**bench, "workloads": bench["workloads"] if bench["scale"] == 1 else {}},
        "reports": {name: report for name, report in reports.items() if _scale_of(report) == 1},
    }


def _scale_of(report: Mapping[str, Any]) -> float:
    return float(report.get("measured", {}).get("scale", 1))


def _ratio(workload: str, figure: str, peer: str) -> Measure:
    def measure(results: Results) -> float | None:
        measured = results["bench"]["workloads"].get(workload)
        return None if measured is None else ratio(by_program(measured), figure, peer)

    return measure


def _wall(workload: str, peer: str) -> Measure:
    """Of equal files: slow peers got a part of them."""
    rate = _ratio(workload, "objects/s", peer)

    def measure(results: Results) -> float | None:
        found = rate(results)
        return None if found is None else 1 / found

    return measure


def _own(figure: str, *workloads: str) -> Measure:
    """Bulkhaul's figure, the largest of those workloads; None unless all were measured."""

    def measure(results: Results) -> float | None:
        measured = results["bench"]["workloads"]
        rows = [by_program(measured[name]).get("bulkhaul", {}) for name in workloads if name in measured]
        found = [row[figure] for row in rows if figure in row]
        return max(found) if len(found) == len(workloads) else None

    return measure


def _pages_beyond(workload: str) -> Measure:
    """LIST requests beyond one for each 1,000 files."""
    lists = _own("requests: list", workload)

    def measure(results: Results) -> float | None:
        found = lists(results)
        if found is None:
            return None
        files: int = results["bench"]["workloads"][workload]["programs"]["bulkhaul"]["files"]
        return found - math.ceil(files / 1000)

    return measure


def _figure(name: str) -> Measure:
    """A figure of one of the reports."""

    def measure(results: Results) -> float | None:
        found = [report["figures"][name] for report in results["reports"].values() if name in report.get("figures", {})]
        return found[0] if found else None

    return measure


_BESIDES = "start, proof and manifest take the rest (see *Where the time goes*); of more files less, as the curves show"
_SERVER = "the server takes the cores, and before and after the sending stand probe, proof and manifest"
_START = "the start of Python alone takes half of that time; of 100,000 files less, as the curves show"

TARGETS = (
    Target("W1, objects/s", _ratio("W1", "objects/s", "s5cmd"), 1.6, "x s5cmd", least=True, aim=2, why=_BESIDES),
    Target("W1, objects/s", _ratio("W1", "objects/s", "naive"), 25, "x the naive way", least=True, why=_BESIDES),
    Target("W1, CPU per 1,000 objects", _ratio("W1", "CPU-s/1000", "s5cmd"), 0.6, "x s5cmd", aim=0.5, why=_BESIDES),
    Target("W1 to SeaweedFS, wall", _wall("W1s", "s5cmd"), 1, "x s5cmd", why=_SERVER),
    Target("W2, MiB/s", _ratio("W2", "MiB/s", "best"), 2, "x the best peer", least=True),
    Target("W2, CPU per GiB", _ratio("W2", "CPU-s/GiB", "best"), 0.5, "x the best peer"),
    Target("W3, MiB/s", _ratio("W3", "MiB/s", "s5cmd"), 1.2, "x s5cmd", least=True),
    Target("W3, CPU per GiB", _ratio("W3", "CPU-s/GiB", "s5cmd"), 0.8, "x s5cmd", aim=0.5),
    Target("W6, wall", _wall("W6", "best"), 0.7, "x the best peer"),
    Target("W4, wall", _wall("W4", "s5cmd"), 0.6, "x `s5cmd sync`", why=_START),
    Target("W4, LIST beyond one per 1,000 files", _pages_beyond("W4"), 2, "requests"),
    Target("W4, HEAD", _own("requests: head", "W4"), 0, "requests"),
    Target("W5, objects/s", _ratio("W5", "objects/s", "s5cmd"), 1.3, "x s5cmd", least=True),
    Target("W5, objects/s", _ratio("W5", "objects/s", "rclone"), 20, "x rclone", least=True),
    Target("Peak memory in W1, W2, W4, W5", _own("RSS MiB", "W1", "W2", "W4", "W5"), 200, "MiB"),
    Target("Peak memory in W3, W6", _own("RSS MiB", "W3", "W6"), 300, "MiB"),
    Target("Peak memory at 10^6 files", _figure("RSS MiB at 1000000 files"), 250, "MiB"),
    Target("Peak memory, the most over the least of all trees", _figure("RSS, most over least of all trees"), 1.5, "x"),
    Target("W3 killed: sent again of what had come whole", _figure("sent again after kill -9, MiB"), 1, "MiB"),
    Target("W3 killed: first part after the restart", _figure("first part after kill -9, s"), 2, "s"),
    Target("10^6 files, 100 missing: first of them", _figure("first file of 100 of 1000000, s"), 60, "s"),
    Target("summarise, 10^5 jobs, index", _figure("summarise with index, s"), 1, "s"),
    Target("summarise, 10^5 jobs, no index", _figure("summarise without index, s"), 5, "s"),
    Target("16 processes, 10^4 jobs: claimed twice", _figure("jobs claimed twice"), 0, "jobs"),
    Target("`bulkhaul --help`", _figure("`bulkhaul --help`, s"), 0.25, "s"),
)


def judge(results: Results) -> list[tuple[str, str, str, str]]:
    """Each target, what was wanted, what was found, and the verdict."""
    judged = whole(results)
    found = [(target, target.measure(judged)) for target in TARGETS]
    return [
        (target.what, target.wanted, "" if value is None else number(value), target.verdict(value))
        for target, value in found
    ]
