"""Layouts: the rule that says which folders below a results folder are datasets, and how each is named in job and key.

A layout is three templates with `{fields}`: the path below the results folder, the job's name, and the key below the
target's prefix; and, if it `requires` one, an entry that a dataset must hold to be whole. A field stands for one
folder name or a part of it, never for one that begins with a dot. Everything here is pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bulkhaul.errors import UsageError

_FIELD = re.compile(r"\{([^{}]*)\}")
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Layout:
    """Three templates that fit together: making one checks that they do.

    Raises:
        UsageError: a template that cannot be used, or a field that the path does not have.
    """

    name: str
    path: str
    job_name: str
    key: str
    requires: str | None = None

    def __post_init__(self) -> None:
        fields = self._checked_fields("path", self.path)
        for field in fields:
            if fields.count(field) > 1:
                raise self._unusable("path", f"the field {{{field}}} stands there twice")
        if "}{" in self.path:
            raise self._unusable("path", "two fields touch, so nobody can say where one ends")
        used = {"name": self.job_name, "key": self.key} | ({"requires": self.requires} if self.requires else {})
        for what, template in used.items():
            unknown = [field for field in self._checked_fields(what, template) if field not in fields]
            if unknown:
                raise self._unusable(what, f"the path has no field {{{unknown[0]}}}")
        if "/" in self.job_name:
            raise self._unusable("name", "a job's name is a file name, it takes no `/`")

    def _checked_fields(self, what: str, template: str) -> list[str]:
        if any(segment in {"", ".", ".."} for segment in template.split("/")):
            raise self._unusable(
                what, "it is empty, begins or ends with `/`, or has a segment that is empty, `.` or `..`"
            )
        fields = _FIELD.findall(template)
        if any(not _FIELD_NAME.fullmatch(field) for field in fields) or set(_FIELD.sub("", template)) & {"{", "}"}:
            raise self._unusable(what, "a field is written {like_this}: small letters, digits and `_`")
        return fields

    def _unusable(self, what: str, reason: str) -> UsageError:
        return UsageError(f"layout {self.name!r}, {what}", reason, "correct the layout in the settings")

    @property
    def levels(self) -> tuple[str, ...]:
        """The fields that tell datasets apart in the job's name, in the order of the path."""
        named = set(_FIELD.findall(self.job_name))
        return tuple(field for field in _FIELD.findall(self.path) if field in named)


@dataclass(frozen=True, slots=True)
class Dataset:
    """One folder that moves as a unit: its job's name, its real path, and its key below the target's prefix."""

    name: str
    path: Path
    key: str
    fields: Mapping[str, str]


JUMP = Layout(
    name="jump",
    path="aggregated/{stage}/cellpainting-gallery/{project}/{source}/workspace/segmentation/{model}/objects/{batch}/{plate}",
    job_name="{source}__{batch}__{plate}",
    key="{project}/{source}/workspace/segmentation/{model}/objects/{batch}/{plate}",
    requires="{plate}.zarr",
)
"""The results of the JUMP Cell Painting segmentation; a plate is whole when its `{plate}.zarr` is there."""


def folders(depth: int = 1) -> Layout:
    """The layout in which each folder `depth` levels below the results folder is a dataset.

    Raises:
        UsageError: `depth` is below 1.
    """
    if depth < 1:
        raise UsageError(f"depth {depth}", "datasets lie at least one level below the results folder", "give 1 or more")
    names = [f"{{folder{level}}}" for level in range(1, depth + 1)]
    return Layout(name="folders", path="/".join(names), job_name="__".join(names), key="/".join(names))


def fill(template: str, fields: Mapping[str, str]) -> str:
    """`template` with the values of its fields, which are taken as they are."""
    return _FIELD.sub(lambda found: fields[found[1]], template)


def segment_pattern(segment: str) -> re.Pattern[str]:
    """What one segment of a path template matches; of several fields the earlier ones take as little as they can."""
    parts = _FIELD.split(segment)  # literal, field, literal, field, ...
    text = "".join(f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return re.compile(text if segment.startswith(".") else rf"(?!\.){text}", re.DOTALL)


def target_of(layout: Layout, source: Path, target: str) -> str:
    """The target of a dataset at `source` below the target `s3://bucket/prefix`, for job files that name none.

    The end of the path is matched against the layout, so the results folder need not be known.

    Raises:
        UsageError: the path does not end as the layout says.
    """
    segments = layout.path.split("/")
    fields: dict[str, str] = {}
    parts = source.parts[-len(segments) :]
    matches = [segment_pattern(segment).fullmatch(part) for segment, part in zip(segments, parts, strict=False)]
    if len(parts) < len(segments) or not all(matches):
        raise UsageError(
            source,
            f"the path does not end like the layout {layout.name!r} ({layout.path})",
            "choose the layout that it was extracted with, or add a `target:` line to the job file",
        )
    for match in matches:
        fields |= match.groupdict() if match else {}
    return f"{target.rstrip('/')}/{fill(layout.key, fields)}"
