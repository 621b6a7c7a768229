"""The shape of the code: who may import whom, where libraries and the environment may be touched, sizes and names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "bulkhaul"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

BASE = {"errors", "fsio", "garbage", "proc", "messages", "spill", "stopping"}
COLUMNS = {"joblist", "sources", "s3"}
STEPS = {
    *("extract", "check", "worker", "audit"),
    *("agreement", "preflight", "probing", "targets", "progress", "requeueing", "shares", "attempt", "rehearsal"),
}

# Part of the package -> the parts that it may import (itself always). A new part needs a line here.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "messages": set(),
    "fsio": {"errors"},
    "proc": {"errors"},
    "garbage": set(),
    "spill": set(),
    "stopping": {"errors"},
    "settings": {"errors"},
    "joblist": BASE,
    "sources": BASE,
    "s3": BASE,
    "transfer": BASE | {"sources", "s3"},
    "slurm": {"errors", "proc"},
    **{step: BASE | COLUMNS | STEPS | {"transfer", "slurm"} for step in STEPS},
    "assembly": {"errors", "settings", "transfer"} | COLUMNS,
    "__init__": STEPS | COLUMNS | {"slurm", "transfer"},
    "cli": BASE | COLUMNS | STEPS | {"transfer", "slurm", "settings", "assembly", "__init__"},
    "__main__": {"cli"},
}

# Library -> the only parts that may import it.
LIBRARIES = {
    "boto3": {"s3"},
    "botocore": {"s3"},
    "anycrc": {"s3"},
    "s3transfer": {"s3"},
    "obstore": {"s3"},
    "subprocess": {"proc"},
    "multiprocessing": set[str](),
    "typer": {"cli"},
    "tqdm": {"cli"},
    "pydantic": {"settings"},
    "filelock": {"joblist"},
}

LOADED_BY_HELP = ("errors", "garbage", "messages", "progress", "stopping")

FORBIDDEN_NAMES = re.compile(r"(^|_)(utils?|helpers?|managers?|common|misc)(_|$)")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in `tree`: at the top, in functions, for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_part(name: str) -> str | None:
    """The part of bulkhaul that an imported name lies in; None for a foreign one."""
    first, *rest = name.split(".")
    if first != "bulkhaul":
        return None
    known = rest and ((PACKAGE / rest[0]).is_dir() or (PACKAGE / f"{rest[0]}.py").is_file())
    return rest[0] if known else "__init__"


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


each_module = pytest.mark.parametrize("path", MODULES, ids=identify)


@each_module
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    assert part in ALLOWED, f"{part} has no place in the layers: give it one in this file"
    wrong = {
        name for name in imported(parse(path)) if (own := own_part(name)) and own != part and own not in ALLOWED[part]
    }
    assert not wrong


@each_module
def test_a_library_is_used_in_its_own_part_alone(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(parse(path))}
    wrong = {top for top in tops & LIBRARIES.keys() if part_of(path) not in LIBRARIES[top]}
    assert not wrong


@each_module
def test_the_environment_is_read_in_two_places(path: Path) -> None:
    literals = [
        node.value
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
    ]
    if part_of(path) != "settings" and path.name != "exports.py":  # which names the ones that it keeps back
        assert not [text for text in literals if re.match(r"BULKHAUL_\w*$", text)]
    if part_of(path) != "slurm":
        assert not [text for text in literals if re.match(r"SLURM_\w*$", text)]


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS, *TESTS], ids=identify)
def test_a_module_has_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@each_module
def test_a_name_says_something(path: Path) -> None:
    assert not FORBIDDEN_NAMES.search(path.stem)
    classes = [node.name for node in ast.walk(parse(path)) if isinstance(node, ast.ClassDef)]
    assert not [name for name in classes if re.search(r"(Utils?|Helper|Manager)$", name)]


@each_module
def test_every_public_name_has_a_docstring(path: Path) -> None:
    tree = parse(path)
    assert ast.get_docstring(tree), "the module itself"
    bare = [node.name for node in public_definitions(tree) if not ast.get_docstring(node)]
    assert not bare


def public_definitions(tree: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


def test_the_rules_see_a_break(tmp_path: Path) -> None:
    tree = ast.parse("def f():\n    from bulkhaul.cli.app import main\n    import boto3.session\n")
    assert sorted(imported(tree)) == ["boto3.session", "bulkhaul.cli.app.main"]
    assert own_part("bulkhaul.cli.app.main") == "cli"
    assert own_part("bulkhaul.__version__") == "__init__"
    assert own_part("boto3") is None


def test_help_loads_no_heavy_library() -> None:
    """`bulkhaul --help` must feel instant; each of these costs more than all the rest together."""
    code = "import sys, bulkhaul.cli.app; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"boto3", "botocore", "obstore", "pydantic", "anycrc", "tqdm", "asyncio"} & set(done.stdout.split())


def test_help_loads_the_commands_and_next_to_nothing_else_of_ours() -> None:
    """No module that a command needs only when it runs: those are imported inside of it."""
    code = "import sys, bulkhaul.cli.app as app; sys.argv[1:] = ['--help']; app.app(standalone_mode=False); "
    code += "print(*(name for name in sys.modules if name.split('.')[0] == 'bulkhaul'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = set(done.stdout.splitlines()[-1].split())
    commands = {f"bulkhaul.cli.{path.stem}" for path in MODULES if part_of(path) == "cli" and path.stem != "__init__"}
    assert own - commands == {"bulkhaul", "bulkhaul.cli", *(f"bulkhaul.{part}" for part in LOADED_BY_HELP)}
    assert commands <= own
