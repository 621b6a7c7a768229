"""The audit of dependencies fails for a known vulnerability in what runs, and never for being offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def audit(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """The audit with `program` in the place of pip-audit."""
    package = folder / "pip_audit"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(program)
    env = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, str(ROOT / ".ci" / "audit.py")]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def saying(*packages: dict[str, object]) -> str:
    return f"print({json.dumps(json.dumps({'dependencies': packages, 'fixes': []}))})"


def package(name: str, *found: str) -> dict[str, object]:
    vulnerabilities = [{"id": each, "fix_versions": ["9.9"], "aliases": [], "description": ""} for each in found]
    return {"name": name, "version": "1.0", "vulns": vulnerabilities}


def test_a_vulnerability_in_what_bulkhaul_needs_fails_by_its_number(tmp_path: Path) -> None:
    done = audit(tmp_path, saying(package("urllib3", "PYSEC-1"), package("boto3")) + "\nraise SystemExit(1)")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "vulnerable: urllib3 1.0: PYSEC-1, mended in 9.9"


def test_one_in_what_development_needs_is_told_only(tmp_path: Path) -> None:
    done = audit(tmp_path, saying(package("boto3"), package("moto", "PYSEC-2")))
    assert done.returncode == 0
    assert "vulnerable, for development only: moto 1.0: PYSEC-2" in done.stdout
    assert "dependency audit: 2 packages, 1 of " in done.stdout


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (saying({"name": "boto3", "skip_reason": "not found"}), "the service knows none of the packages"),
        ("import sys; print('no route', file=sys.stderr); sys.exit(1)", "no route"),
        ("raise SystemExit(3)", "it said nothing"),
        ("print('not json')", "it said nothing"),
    ],
)
def test_where_it_cannot_be_asked_one_line_says_so(tmp_path: Path, program: str, reason: str) -> None:
    done = audit(tmp_path, program)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"dependency audit skipped: {reason}\n", "")


def test_what_is_needed_to_run_is_found_through_all_levels() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT / '.ci')!r}); import audit; print(*sorted(audit.needed()))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"boto3", "botocore", "urllib3", "pydantic-core", "filelock", "obstore"} <= set(names)
    assert not {"bulkhaul", "moto", "pytest", "ruff"} & set(names)


def test_continuous_integration_makes_the_audit() -> None:
    assert "make audit" in (ROOT / ".ci" / "run").read_text()
