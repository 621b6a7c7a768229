"""Draws plots as SVG: a JSON object of file names and plots on standard input. Run by the benchmarks' own environment.

The same plots give the same files: no date, no random names, letters as text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

SIZE = (8, 4.5)  # inches
MARKERS = "osv^Dx*P"


def draw(file: str, plot: Mapping[str, Any]) -> None:
    """Write one plot."""
    figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
    (_bars if "bars" in plot else _lines)(axes, plot)
    axes.set_title(plot["title"])
    axes.set_xlabel(plot.get("x", ""))
    axes.set_ylabel(plot.get("y", ""))
    if plot.get("log_x"):
        axes.set_xscale("log")
    if plot.get("log_y"):
        axes.set_yscale("log")
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def _lines(axes: Any, plot: Mapping[str, Any]) -> None:
    for number, series in enumerate(plot["series"]):
        xs, ys = zip(*series["points"], strict=True)
        axes.plot(xs, ys, marker=MARKERS[number % len(MARKERS)], markersize=4, label=series["name"])


def _bars(axes: Any, plot: Mapping[str, Any]) -> None:
    width = 0.8 / len(plot["bars"])
    for number, bar in enumerate(plot["bars"]):
        places = [group + (number + 0.5) * width - 0.4 for group in range(len(plot["groups"]))]
        axes.bar(places, bar["values"], width, label=bar["name"])
    axes.set_xticks(range(len(plot["groups"])), plot["groups"])


if __name__ == "__main__":
    matplotlib.rcParams.update({"svg.hashsalt": "bulkhaul", "svg.fonttype": "none", "font.size": 10})
    for file, plot in json.load(sys.stdin).items():
        draw(file, plot)
