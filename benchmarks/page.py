"""`make performance`: docs/performance.md and its plots, made of results; the results are kept beside the plots.

Fresh results in `benchmarks/results/` replace those of the same name in `docs/performance/results.json`; the page is
made of that file alone.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from figures import by_program, number
from programs import PEERS, install_peers
from targets import Results, judge

HERE = Path(__file__).resolve().parent
FOLDER = "performance"
_BENCH = "latest"

INTRODUCTION = """# Performance

Made by `make performance` of [the results](performance/results.json) of `make bench`; nothing here is written by hand.
All programs ran on one machine with their servers beside them, in turn (A B C A B C …); figures are medians. Absolute
figures are that machine's, ratios carry further. Each run is a whole process, and what arrived is counted after it.
bulkhaul is measured whole: claim, walk, list, upload, verify by a second listing, manifest, success; the others send
and prove nothing. CPU is that of the client's processes; memory is the peaks of all of them together, with pages of
libraries that they share counted once. Nothing was measured against Amazon's S3.
"""
SLOW = "Programs with fewer files than bulkhaul are those that would take minutes for all; rates are compared."
COLUMNS = {
    "wall s": "wall s",
    "objects/s": "objects/s",
    "MiB/s": "MiB/s",
    "CPU-s/1000": "CPU-s per 1,000 objects",
    "CPU-s/GiB": "CPU-s per GiB",
    "RSS MiB": "peak RSS MiB",
}


def main(
    results: Annotated[Path, typer.Option(help="Folder of fresh results.")] = HERE / "results",
    docs: Annotated[Path, typer.Option(help="Folder of the page.")] = HERE.parent / "docs",
) -> None:
    """Write the page, its results and its plots."""
    install_peers()
    folder = docs / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "results.json"
    found = gather(results, json.loads(kept.read_text()) if kept.exists() else {"bench": {}, "reports": {}})
    kept.write_text(json.dumps(found, indent=1) + "\n")
    (docs / "performance.md").write_text(render(found), encoding="utf-8")
    for old in folder.glob("*.svg"):
        old.unlink()
    drawn = json.dumps({str(folder / name): plot for name, plot in plots(found)})
    subprocess.run([PEERS / "python", HERE / "plots.py"], input=drawn, text=True, check=True)


def gather(folder: Path, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What was kept, with fresh results in place of those of the same name."""
    fresh = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    bench = fresh.pop(_BENCH, kept["bench"])
    return {"bench": bench, "reports": dict(sorted({**kept["reports"], **fresh}.items()))}


def render(results: Results) -> str:
    """The page."""
    bench = results["bench"]
    blocks = [INTRODUCTION, *_circumstances(bench), "## Targets\n", _targets(results), "## Workloads\n", SLOW + "\n"]
    blocks += [_image(name, plot) for name, plot in _bars(bench)]
    for name, workload in bench["workloads"].items():
        blocks += [f"### {name}: {workload['title']}\n", _workload(workload)]
    for name, report in results["reports"].items():
        blocks += _report(name, report)
    return "\n".join(blocks)


def plots(results: Results) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each plot of the page with the name of its file."""
    yield from _bars(results["bench"])
    for name, report in results["reports"].items():
        for plot in report.get("plots", ()):
            yield _file(name, plot), plot


def _circumstances(around: Mapping[str, Any]) -> Iterator[str]:
    rows = [*around["machine"].items(), *(_versions(around["versions"])), ("measured", _when(around))]
    yield _table(("", ""), rows)
    if around["scale"] != 1:
        yield f"**Only {around['scale']:g} of the files were sent: the start of a process weighs too much here.**\n"


def _versions(versions: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield "versions", ", ".join(f"{name} {number}" for name, number in versions.items())


def _when(around: Mapping[str, Any]) -> str:
    return f"{around['when']}, runs of each program: {around['rounds']}"


def _targets(results: Results) -> str:
    return _table(("what", "wanted", "found", ""), judge(results))


def _workload(workload: Mapping[str, Any]) -> str:
    rows = by_program(workload)
    own = rows.get("bulkhaul", {})
    cells = [
        (
            name,
            workload["programs"][name]["files"],
            *(_with_spread(row) if figure == "wall s" else row[figure] for figure in COLUMNS),
            *(own[figure] / row[figure] if own else "" for figure in ("objects/s", "CPU-s/1000")),
        )
        for name, row in rows.items()
    ]
    return _table(("program", "files", *COLUMNS.values(), "bulkhaul's rate is", "its CPU is"), cells)


def _with_spread(row: Mapping[str, float]) -> str:
    return f"{number(row['wall s'])} ({number(row['least wall s'])} to {number(row['most wall s'])})"


def _bars(bench: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rates and CPU of all programs as multiples of bulkhaul's, a group of bars for each workload."""
    rows = {name: by_program(workload) for name, workload in bench["workloads"].items()}
    rows = {name: row for name, row in rows.items() if "bulkhaul" in row}
    programs = dict.fromkeys(program for row in rows.values() for program in row)
    for file, figure, title in (
        ("rates.svg", "objects/s", "Objects/s as a multiple of bulkhaul's"),
        ("cpu.svg", "CPU-s/1000", "CPU per object as a multiple of bulkhaul's"),
    ):
        bars = [
            {
                "name": program,
                "values": [
                    row[program][figure] / row["bulkhaul"][figure] if program in row else 0 for row in rows.values()
                ],
            }
            for program in programs
        ]
        yield file, {"title": title, "groups": list(rows), "bars": bars, "log_y": figure == "CPU-s/1000"}


def _report(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {report['title']}\n"
    yield from (f"{note}\n" for note in report["notes"])
    if measured := report.get("measured"):
        share = "" if measured["scale"] == 1 else f" **Only {measured['scale']:g} of the files.**"
        yield f"Measured {_when(measured)}, on {measured['machine']['processor']}.{share}\n"
    for table in report["tables"]:
        yield f"### {table['title']}\n"
        yield _table(table["columns"], table["rows"])
    yield from (_image(_file(name, plot), plot) for plot in report.get("plots", ()))


def _file(name: str, plot: Mapping[str, Any]) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{name} {plot['title']}".lower()).strip("-") + ".svg"


def _image(file: str, plot: Mapping[str, Any]) -> str:
    return f"![{plot['title']}]({FOLDER}/{file})\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(cell: str | float | None) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else number(cell)


if __name__ == "__main__":
    typer.run(main)
