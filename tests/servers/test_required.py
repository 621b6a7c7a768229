"""A part that is missing: a skip that everybody sees, or a failure where it is required."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.slurm import SlurmCluster
from unprivileged import reachable_folder, run_unprivileged

TESTS = """
from pathlib import Path

from servers.disk import small_file_system
from servers.required import missing

def test_of_a_disk():
    with small_file_system(Path(__file__).parent / "disk", options="size=1m"):
        pass

def test_of_a_server():
    missing("s3", "not installed")

def test_of_an_old_server():
    missing("old server", "not to be had")

def test_of_a_compiler():
    missing("cc", "not installed")
"""
RUN = "import sys, pytest; sys.exit(pytest.main(['-p', 'no:cacheprovider', '-rsf', *sys.argv[1:]]))"


@pytest.fixture
def tests() -> Iterator[Path]:
    """A test of a file system of its own and one each of a server and a compiler, for who may mount nothing."""
    with reachable_folder() as folder:
        folder.chmod(0o777)
        (folder / "test_parts.py").write_text(TESTS)
        yield folder / "test_parts.py"


@pytest.mark.parametrize(
    ("required", "fates"),
    [
        ("", {"mount": "SKIPPED", "cc": "SKIPPED", "s3": "SKIPPED", "old server": "SKIPPED"}),
        ("s3", {"mount": "SKIPPED", "cc": "SKIPPED", "s3": "FAILED", "old server": "FAILED"}),
        ("slurm,s3", {"mount": "FAILED", "cc": "FAILED", "s3": "FAILED", "old server": "FAILED"}),
    ],
)
def test_a_missing_part_is_a_visible_skip_or_a_failure_where_it_is_required(
    tests: Path, monkeypatch: pytest.MonkeyPatch, required: str, fates: dict[str, str]
) -> None:
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BULKHAUL_REQUIRE", required)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("COLUMNS", "400")  # no line of the summary is cut
    done = run_unprivileged(RUN, "--rootdir", tests.parent, tests)
    told = {
        part: line.split()[0]
        for line in done.stdout.splitlines()
        for part in fates
        if f"{part} is missing: " in line or f"{part} is required and missing: " in line
        if line.startswith(("SKIPPED ", "FAILED "))
    }
    assert told == fates, done.stdout + done.stderr
    assert done.returncode == (1 if "FAILED" in fates.values() else 0)


def test_all_that_needs_the_cluster_is_one_group(request: pytest.FixtureRequest, slurm_cluster: SlurmCluster) -> None:
    """A pytest that its plugin for several processes does not know starts a cluster in each, without a word."""
    assert slurm_cluster.run("sinfo", "--version").startswith("slurm")
    if request.config.getoption("loadgroup", False):
        assert request.node.nodeid.endswith("@slurm")
