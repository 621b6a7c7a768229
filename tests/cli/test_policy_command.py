"""`bulkhaul policy` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typed import TARGET, bulkhaul, make_results

pytestmark = pytest.mark.slow  # a process or a server a test


def resources(printed: str) -> set[str]:
    return {resource for each in json.loads(printed)["Statement"] for resource in each["Resource"]}


def test_the_target_of_the_settings_counts_unless_another_or_a_joblist_is_named(tmp_path: Path, joblist: Path) -> None:
    (tmp_path / "bulkhaul.toml").write_text('target = "s3://lab/all"\nregion = "cn-north-1"\n')
    printed = bulkhaul("policy", "--role", "auditor", folder=tmp_path).stdout
    assert resources(printed) == {"arn:aws-cn:s3:::lab", "arn:aws-cn:s3:::lab/all/*"}
    printed = bulkhaul("policy", "--role", "auditor", "--target", TARGET, folder=tmp_path).stdout
    assert "arn:aws-cn:s3:::gallery/archive/*" in resources(printed)
    printed = bulkhaul("policy", "--role", "auditor", "-i", joblist, "--json", folder=tmp_path).stdout
    (objects,) = (resource for resource in resources(printed) if resource.endswith("/*"))
    assert objects.startswith("arn:aws-cn:s3:::gallery/archive/cpg0016-jump/source_8/")


def test_an_unknown_role_and_a_joblist_without_a_job_are_refused_in_one_line(tmp_path: Path) -> None:
    done = bulkhaul("policy", "--role", "king", "--target", TARGET, folder=tmp_path, expect=2)
    assert done.stderr == "❌ --role: 'king' is no role; choose worker or auditor\n"
    assert "target: not set" in bulkhaul("policy", "--role", "worker", folder=tmp_path, expect=2).stderr
    results = make_results(tmp_path, {"J1": 1})
    bulkhaul("extract", "-i", results, "-o", "jobs", folder=tmp_path)
    for path in (tmp_path / "jobs").glob("*.txt"):
        path.write_text("todo\n")
    done = bulkhaul("policy", "--role", "worker", "-i", "jobs", folder=tmp_path, expect=2)
    assert "no job file of it can be read" in done.stderr
