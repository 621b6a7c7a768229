"""What the documentation says is true: its commands run, its outputs are real, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.main import get_group

from bulkhaul.cli.app import app
from bulkhaul.joblist.job import Status
from bulkhaul.joblist.jobfile import parse_jobfile, render_jobfile
from bulkhaul.settings import load_settings
from e2e.lab import plate_folder, write_plate

ROOT = Path(__file__).parents[1]
PAGES = sorted(page for page in ROOT.rglob("*.md") if not page.relative_to(ROOT).parts[0].startswith("."))
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")

# Where README's reader works; the test puts its own folders in their place.
READERS_CHECKOUT = "/home/ada/bulkhaul"
READERS_RESULTS = "/lustre/segmentation/source08/results"
READERS_BUCKET = "cellpainting-gallery"

# These make the environment or run everything: `.ci/run` runs them, here they only have to exist.
MAKE = re.compile(r"(make [a-z]+|\.ci/run|source \.venv/bin/activate)")


@dataclass(frozen=True)
class Block:
    """One block of commands, and the output that README shows for it."""

    commands: str
    output: str | None
    heads: tuple[str, ...] = ()  # how the lines of a `console` block begin: what follows is the reader's own machine


def heads_of(text: str) -> tuple[str, ...]:
    return tuple(line.partition(":")[0] for line in text.splitlines())


def blocks(text: str) -> list[Block]:
    found = FENCE.findall(text)
    following = [*found[1:], ("", "")]
    return [
        Block(body, after if kind_after == "text" else None, heads_of(after) if kind_after == "console" else ())
        for (kind, body), (kind_after, after) in zip(found, following, strict=True)
        if kind == "bash"
    ]


def test_every_page_is_looked_at() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "docs/design.md", "docs/operations.md", "joblists/README.md"} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("command", sorted(get_group(app).commands))
def test_readme_names_every_command(command: str) -> None:
    assert f"| `bulkhaul {command}` |" in README


def test_readme_names_every_script() -> None:
    scripts = {path.name for path in (ROOT / "scripts").glob("[0-9s]*.py")} - {
        "01_extract_joblist_from_results_folder.py"
    }
    assert [script for script in sorted(scripts) if f"`{script}`" not in README] == []


def test_the_targets_that_readme_names_exist() -> None:
    named = set(re.findall(r"^(?:make) ([a-z]+)$", README, re.MULTILINE))
    assert {"demo", "test", "env"} <= named
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= targets


def test_readmes_functions_are_the_packages() -> None:
    import bulkhaul

    paragraph = README.partition("functions of the package:")[2].partition("\n\n")[0]
    names = [name.removeprefix("bulkhaul.") for name in re.findall(r"`([\w.]+)`", paragraph)]
    assert len(names) == 9
    assert all(callable(getattr(bulkhaul, name)) for name in names)


def test_readmes_settings_are_settings(tmp_path: Path) -> None:
    tables = [body for kind, body in FENCE.findall(README) if kind == "toml"]
    indented = re.findall(r"^  ```toml\n(.*?)^  ```$", README, re.MULTILINE | re.DOTALL)
    assert (len(tables), len(indented)) == (1, 1)
    for text in (*tables, *indented):
        (tmp_path / "bulkhaul.toml").write_text(text.replace("\n  ", "\n").removeprefix("  "))
        assert load_settings(folder=tmp_path).file is not None


@pytest.mark.parametrize("status", Status)
def test_the_example_joblist_has_a_job_in_each_status_that_survives_a_rewrite(status: Status) -> None:
    files = sorted((ROOT / "joblists" / "example").glob("*.txt"))
    jobs = {path: parse_jobfile(path.read_bytes(), name=path.stem) for path in files}
    mine = {path: job for path, job in jobs.items() if job.word == status}
    assert len(mine) == 1
    for path, job in mine.items():
        assert job.target is not None
        assert render_jobfile(job) == path.read_bytes()


@pytest.fixture
def reader(tmp_path: Path, bucket: str, s3_env: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
    """README's reader: a checkout with settings, a results folder of two plates, and keys for a bucket."""
    checkout = tmp_path / "bulkhaul"
    for folder in ("scripts", "slurm"):
        shutil.copytree(ROOT / folder, checkout / folder)
    shutil.copy(ROOT / "pyproject.toml", checkout)
    (checkout / "joblists").mkdir()
    for number, plate in enumerate(("A1170383", "A1170384")):
        write_plate(plate_folder(tmp_path / "results", batch="J1", plate=plate), chunks=120, seed=number)
    settings = {
        "results": f"{tmp_path}/results",
        "target": f"s3://{bucket}",
        "endpoint_url": s3_env["AWS_ENDPOINT_URL_S3"],
    }
    (checkout / "bulkhaul.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in settings.items()))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return checkout, {**os.environ, **s3_env, "PATH": path}


def shape(text: str, places: Mapping[str, str]) -> Counter[str]:
    """The lines of an output without what differs from run to run: places, figures, the order of jobs."""
    for ours, readers in places.items():
        text = text.replace(ours, readers)
    return Counter(re.sub(r"\d[\d.,:/]*", "0", line) for line in text.splitlines())


@pytest.mark.s3
@pytest.mark.slow
def test_readmes_commands_run_and_say_what_it_shows(reader: tuple[Path, dict[str, str]], bucket: str) -> None:
    checkout, environment = reader
    places = {str(checkout): READERS_CHECKOUT, f"{checkout.parent}/results": READERS_RESULTS, bucket: READERS_BUCKET}
    ran = 0
    for block in blocks(README):
        if all(MAKE.fullmatch(line) for line in block.commands.splitlines()):
            continue
        commands = "\n".join(line for line in block.commands.splitlines() if not MAKE.fullmatch(line))
        done = subprocess.run(
            ["bash", "-euc", commands], cwd=checkout, env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        ran += 1
        assert set(block.heads) <= set(heads_of(done.stdout)), commands
        if block.output is not None:
            assert shape(done.stdout, places) == shape(block.output, {}), commands
    assert ran >= 8


@pytest.mark.slow
def test_make_docs_writes_a_reference_of_each_step(tmp_path: Path) -> None:
    import bulkhaul

    # The environment that runs the tests is taken as it is: `make` must not install anything now.
    make = ["make", "--no-print-directory", "docs", f"REFERENCE={tmp_path}", f"BIN={Path(sys.executable).parent}"]
    ready = ["-o", ".venv/.ready"]
    done = subprocess.run([*make, *ready], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == f"{tmp_path}/index.html\n"
    page = (tmp_path / "bulkhaul.html").read_text(encoding="utf-8")
    assert [step for step in bulkhaul.__all__ if f'id="{step}"' not in page] == []
    linked = {link for link in re.findall(r'href="([^":#]+\.html)[^"]*"', page) if "/" in link}
    assert "bulkhaul/worker.html" in linked, "the types of a step are documented too"
    assert [link for link in sorted(linked) if not (tmp_path / link).exists()] == []


@pytest.mark.slow
def test_pip_installs_the_package_by_itself(tmp_path: Path) -> None:
    """README offers `pip install .` into an environment of one's own."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", tmp_path, ROOT], check=True, capture_output=True, timeout=110)
    code = "import bulkhaul, bulkhaul.cli.app as app; print(bulkhaul.__file__); app.main()"
    # A measured run would count this copy as a second package, hardly tested.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    env["PYTHONPATH"] = str(tmp_path)
    said = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(f"{tmp_path}/bulkhaul/__init__.py\n")
    assert "Usage: bulkhaul [OPTIONS] COMMAND" in said
