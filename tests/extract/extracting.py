"""Results with plates or folders, the extraction of them, and what it wrote."""

from __future__ import annotations

from pathlib import Path

from bulkhaul.extract import ExtractReport, extract_joblist
from bulkhaul.sources.layouts import JUMP, Layout

TARGET = "s3://cellpainting-gallery"


def make_folders(results: Path, *names: str) -> None:
    """Empty folders below `results`: datasets of the layout `folders`."""
    for name in names:
        (results / name).mkdir(parents=True)


def extract(
    results: Path, output: Path | None, *, layout: Layout = JUMP, target: str = TARGET, dry_run: bool = False
) -> tuple[ExtractReport, list[str]]:
    """Run the step; its report, and what it said at verbosity 1."""
    said: list[str] = []
    report = extract_joblist(
        results,
        output=output,
        joblists=results.parent / "joblists",
        layout=layout,
        target=target,
        dry_run=dry_run,
        say=lambda message: said.append(str(message)) if message.detail <= 1 else None,
    )
    return report, said


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of each job file."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.glob("*.txt"))}


def assert_nothing_written(folder: Path) -> None:
    """The folder is not there, or empty."""
    assert not folder.exists() or list(folder.iterdir()) == []
