"""A small dataset, and what a transfer made of it."""

from __future__ import annotations

from collections.abc import Iterable

from bulkhaul.transfer.manifest_file import read_manifest
from transfer.rig import Rig

FILES = {"0.0": b"chunk", "a/b": b"", "a b": b"blank", "a/c/d": b"deep", "é": b"accent", "z.csv": b"x" * 5000}


def keys(names: Iterable[str]) -> set[str]:
    """The keys of these files in S3."""
    return {f"p/plate/{name}" for name in names}


def outcomes(rig: Rig) -> dict[str, str]:
    """Each name in the manifest, with the reason or the outcome."""
    return {record.name: record.reason or record.outcome.value for record in read_manifest(rig.manifest)}
