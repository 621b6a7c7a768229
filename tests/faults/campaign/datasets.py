"""The datasets of one campaign: plates of small files, one with a large one, and all that their files ever held."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from e2e.lab import job_name, plate_folder, plate_key, write_plate

LARGE = 11 << 20  # bytes: three parts of 5 MiB
CHUNKS = (60, 90, 110, 140)
MANY = 560  # files from which on a worker sends through processes of its own
_ADDED = "added.txt"


@dataclass(slots=True)
class Dataset:
    """One plate; `versions` has the SHA-256 of each content that a file had since the campaign changed it."""

    plate: str
    folder: Path
    versions: dict[str, set[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    @property
    def job(self) -> str:
        return job_name(self.plate)

    @property
    def prefix(self) -> str:
        return plate_key(batch="J1", plate=self.plate)

    @property
    def changed(self) -> bool:
        """Whether the campaign touched its files since they were written."""
        return bool(self.versions or self.gone)


def write_datasets(results: Path, chance: random.Random) -> list[Dataset]:
    """Six or seven plates of about a thousand files in all, one of them with a large file."""
    sizes = [chance.choice(CHUNKS) for _ in range(6)]
    if chance.random() < 0.25:
        sizes = [MANY, *sizes[:3]]
    while sum(sizes) < 1000:
        sizes.append(chance.choice(CHUNKS))
    chance.shuffle(sizes)
    large = chance.randrange(len(sizes))
    datasets = []
    for number, chunks in enumerate(sizes):
        plate = f"A{number:04d}"
        folder = plate_folder(results, batch="J1", plate=plate)
        write_plate(folder, chunks=chunks, seed=chance.randrange(1 << 30), large=LARGE if number == large else 0)
        datasets.append(Dataset(plate, folder))
    return datasets


def change(dataset: Dataset, chance: random.Random) -> str:
    """Do to one file of `dataset` what a program that still writes there does; what was done, in a word.

    Each way is one step: there is no content between the old and the new one.
    """
    files = sorted(path for path in dataset.folder.rglob("*") if path.is_file() and path.suffix != ".json")
    path = chance.choice(files)
    kind = chance.choice(["overwritten", "replaced", "removed", "added"])
    if kind == "added":
        path = path.with_name(_ADDED)
    name = str(path.relative_to(dataset.folder))
    versions = dataset.versions.setdefault(name, set())
    if path.exists():
        versions.add(digest_of(path))
    if kind == "removed":
        path.unlink()
        dataset.gone.add(name)
    elif kind == "overwritten":
        with path.open("r+b", buffering=0) as file:
            file.seek(chance.randrange(path.stat().st_size))
            file.write(chance.randbytes(7))
    else:
        private = dataset.folder.parent / f".{dataset.plate}.new"
        private.write_bytes(chance.randbytes(chance.randint(1, 3000)))
        private.replace(path)
    if kind != "removed":
        versions.add(digest_of(path))
    return kind


def tree(dataset: Dataset) -> dict[str, str]:
    """SHA-256 of each file by its name below the dataset, by the judge's own walk."""
    found = {}
    for parent, _folders, files in os.walk(dataset.folder):
        for name in files:
            path = Path(parent, name)
            found[str(path.relative_to(dataset.folder))] = digest_of(path)
    return found


def digest_of(path: Path) -> str:
    """SHA-256 of what the file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
