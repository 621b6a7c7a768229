"""The form of a report that the page shows: notes, tables, plots, and figures by name for the table of targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def report(title: str, notes: Sequence[str], **parts: Any) -> dict[str, Any]:
    """A report; `parts` are `tables`, `plots` and `figures` (name to number)."""
    return {"title": title, "notes": list(notes), "tables": [], "plots": [], "figures": {}, **parts}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """A table; a cell is a number or text."""
    return {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]}


def plot(title: str, axes: tuple[str, str], lines: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Lines of points by name, both axes logarithmic."""
    series = [{"name": name, "points": [list(point) for point in points]} for name, points in lines.items()]
    return {"title": title, "x": axes[0], "y": axes[1], "log_x": True, "log_y": True, "series": series}
