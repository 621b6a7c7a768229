"""docs/performance.md is what its results make of it, and says by itself what was reached."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from figures import figures, ratio
from page import FOLDER, gather, plots, render
from targets import TARGETS, Target

from benchmarks.running import BENCHMARKS, PEERS
from servers.required import missing

DOCS = BENCHMARKS.parent / "docs"
SCALE_FREE = {"when": "2026-01-02", "rounds": 3, "machine": {"processor": "2 cores"}, "versions": {"bulkhaul": "1"}}


def measured(wall: float, *, cpu: float = 1.0, files: int = 1000) -> dict[str, Any]:
    samples = [{"wall": wall * share, "cpu": cpu, "rss": 100 << 20, "requests": {}} for share in (1.5, 1, 0.9)]
    return {"files": files, "bytes": files << 14, "samples": samples}


def results(*, scale: float = 1, reports: dict[str, Any] | None = None, **programs: dict[str, Any]) -> dict[str, Any]:
    workloads = {"W1": {"title": "many", "programs": programs}}
    return {"bench": {**SCALE_FREE, "scale": scale, "workloads": workloads}, "reports": reports or {}}


def row(page: str, what: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(f"| {what} |"))


@pytest.fixture
def kept() -> dict[str, Any]:
    return dict(json.loads((DOCS / FOLDER / "results.json").read_text()))


def test_the_page_is_made_of_the_results_beside_it(kept: dict[str, Any]) -> None:
    assert (DOCS / "performance.md").read_text(encoding="utf-8") == render(kept), "make performance"


def test_each_plot_of_the_page_is_there_and_no_other(kept: dict[str, Any]) -> None:
    drawn = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / FOLDER).glob("*.svg")}
    wanted = dict(plots(kept))
    assert set(drawn) == set(wanted)
    for name, plot in wanted.items():
        lines = [line["name"] for line in plot.get("series", plot.get("bars"))]
        assert [text for text in (plot["title"], *lines) if text not in drawn[name]] == [], name


@pytest.mark.slow
def test_the_same_results_draw_the_same_plots(kept: dict[str, Any], tmp_path: Path) -> None:
    if not (PEERS.parent / ".ready").exists():
        missing("peers", "make bench installs them, and what draws")
    wanted = {str(tmp_path / name): plot for name, plot in plots(kept)}
    draw = [PEERS / "python", BENCHMARKS / "plots.py"]
    subprocess.run(draw, input=json.dumps(wanted), text=True, check=True)
    assert [path for path in wanted if Path(path).read_bytes() != (DOCS / FOLDER / Path(path).name).read_bytes()] == []


@pytest.mark.parametrize(
    ("wall", "found", "verdict"),
    [
        (10.0, "1", "**not reached**: 0.62 of it; "),
        (6.25, "1.6", "reached |"),
        (5.0, "2", "reached, and the aim |"),
    ],
)
def test_the_page_says_what_was_reached_or_how_near_it_came(wall: float, found: str, verdict: str) -> None:
    page = render(results(bulkhaul=measured(wall), s5cmd=measured(10)))
    assert row(page, "W1, objects/s").startswith(f"| W1, objects/s | ≥ 1.6 x s5cmd (aim 2) | {found} | {verdict}")
    assert "| W1, objects/s | ≥ 25 x the naive way |  | not measured |" in page


def test_a_part_of_the_files_judges_nothing() -> None:
    page = render(results(scale=0.1, bulkhaul=measured(1), s5cmd=measured(10)))
    assert "| not measured |" in row(page, "W1, objects/s")
    assert "**Only 0.1 of the files" in page


def test_a_limit_that_was_passed_is_told_with_its_reason() -> None:
    most = Target("memory", lambda _results: None, 200, "MiB", why="the reason")
    assert most.verdict(200) == "reached"
    assert most.verdict(300) == "**not reached**: 1.50 times that; the reason"
    assert Target("HEAD", lambda _results: None, 0, "requests").verdict(3) == "**not reached**: 3"
    assert most.verdict(None) == "not measured"


def test_figures_are_medians_and_ratios_are_of_rates_where_files_differ() -> None:
    own, slow = figures(measured(2)), figures(measured(1, files=100))
    assert (own["wall s"], own["least wall s"], own["most wall s"]) == (2, 1.8, 3)
    assert (own["objects/s"], own["MiB/s"], own["RSS MiB"]) == (500, 500 / 64, 100)
    assert (own["CPU-s/1000"], own["CPU-s/GiB"]) == (1, 65.536)
    rows = {"bulkhaul": own, "naive": slow, "s5cmd": figures(measured(1))}
    assert ratio(rows, "objects/s", "naive") == 5
    assert ratio(rows, "objects/s", "best") == 0.5
    assert ratio(rows, "CPU-s/1000", "best") == 1
    assert ratio(rows, "objects/s", "rclone") is None


def test_a_report_is_shown_and_its_figures_are_judged() -> None:
    line = {"name": "one", "points": [[1, 2]]}
    report = {
        "title": "Of a report",
        "notes": ["A note."],
        "tables": [{"title": "Its table", "columns": ["a", "b"], "rows": [["x", 12345], ["y", 0.5]]}],
        "plots": [{"title": "A plot", "x": "x", "y": "y", "log_x": True, "log_y": False, "series": [line]}],
        "figures": {"RSS MiB at 1000000 files": 240.0},
    }
    page = render(results(reports={"own": report}, bulkhaul=measured(1)))
    assert "## Of a report\n\nA note.\n" in page
    assert "| a | b |\n| --- | --- |\n| x | 12,345 |\n| y | 0.5 |\n" in page
    assert "![A plot](performance/own-a-plot.svg)" in page
    assert row(page, "Peak memory at 10^6 files").endswith("| 240 | reached |")


def test_fresh_results_replace_those_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "scale.json").write_text('{"title": "new"}')
    kept = {"bench": {"scale": 1}, "reports": {"scale": {"title": "old"}, "simulation": {"title": "kept"}}}
    assert gather(tmp_path, kept) == {
        "bench": {"scale": 1},
        "reports": {"scale": {"title": "new"}, "simulation": {"title": "kept"}},
    }
    (tmp_path / "latest.json").write_text('{"scale": 2}')
    assert gather(tmp_path, kept)["bench"] == {"scale": 2}


def test_no_target_is_told_twice() -> None:
    named = [(target.what, target.wanted) for target in TARGETS]
    assert len(set(named)) == len(named) >= 24
