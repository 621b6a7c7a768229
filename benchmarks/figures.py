"""What samples come to: medians, rates, ratios between programs. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

MIB, GIB = 1 << 20, 1 << 30

# A higher one is better of these, a lower one of the others.
RATES = frozenset({"objects/s", "MiB/s"})


def figures(measured: Mapping[str, Any]) -> dict[str, float]:
    """Medians of a program on a workload, by name; rates are of the files that it was given."""
    samples = measured["samples"]
    walls = [sample["wall"] for sample in samples]
    wall = statistics.median(walls)
    cpu = statistics.median(sample["cpu"] for sample in samples)
    return {
        "wall s": wall,
        "least wall s": min(walls),
        "most wall s": max(walls),
        "objects/s": measured["files"] / wall,
        "MiB/s": measured["bytes"] / wall / MIB,
        "CPU-s/1000": cpu / measured["files"] * 1000,
        "CPU-s/GiB": cpu / measured["bytes"] * GIB,
        "RSS MiB": statistics.median(sample["rss"] for sample in samples) / MIB,
        **_requests(samples),
    }


def _requests(samples: list[Mapping[str, Any]]) -> dict[str, float]:
    kinds = {kind for sample in samples for kind in sample["requests"]}
    return {f"requests: {kind}": max(sample["requests"].get(kind, 0) for sample in samples) for kind in sorted(kinds)}


def by_program(workload: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The figures of each program on a workload."""
    return {name: figures(measured) for name, measured in workload["programs"].items()}


def ratio(rows: Mapping[str, Mapping[str, float]], figure: str, peer: str) -> float | None:
    """Bulkhaul's figure as a multiple of a peer's, or of the `best` peer's; None where one of them was not measured."""
    own = rows.get("bulkhaul")
    peers = [row[figure] for name, row in rows.items() if name in (peer, *_everybody(rows, peer))]
    if own is None or not peers:
        return None
    return own[figure] / (max(peers) if figure in RATES else min(peers))


def _everybody(rows: Mapping[str, object], peer: str) -> list[str]:
    return [name for name in rows if name != "bulkhaul"] if peer == "best" else []


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 100 else f"{value:.3g}"
