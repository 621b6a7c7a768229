"""What the ledger of one job must look like after each call of anybody, told by all that was ever seen in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bulkhaul.joblist.ledger import newest_record
from model.claim_model import CLAIM, World, look

WORDS = ("todo", "ongoing", "error", "success")
SHOWN = {CLAIM: "ongoing", "success": "success", "error": "error", "released": "todo"}
Record = dict[str, Any]


class Witness:
    """Remembers the records of one job; `top` is the highest number ever seen, as in the model."""

    def __init__(self, folder: Path, job: str) -> None:
        self._ledger = folder / ".bulkhaul" / "ledger"
        self._file = folder / f"{job}.txt"
        self._job = job
        self.records: dict[int, Record] = {}
        self._owners: dict[int, str] = {}

    @property
    def top(self) -> int:
        return max(self.records, default=0)

    @property
    def what(self) -> str:
        return said(self.records[self.top]) if self.records else ""

    @property
    def line(self) -> str:
        return self._file.read_text().splitlines()[0]

    def look(self) -> None:
        """Take in what is there now, and compare."""
        present = self._present()
        for record in sorted(present.values(), key=lambda record: int(record["generation"])):
            self._remember(record)
        names = tuple(sorted((name, record["generation"], said(record)) for name, record in present.items()))
        assert look(World(names=names)) == (self.top, self.what), "the model would not find the newest record"
        newest = newest_record(self._ledger, self._job)
        assert (newest.nonce if newest else None) == (self.records[self.top]["nonce"] if self.records else None)
        assert self.line in WORDS, "I4"

    def _remember(self, record: Record) -> None:
        number = record["generation"]
        if number > self.top:
            assert number == self.top + 1, "I1: a number was left out"
            if record["kind"] == "end":
                assert record["owner"] == self.records[number - 1]["owner"], "I3: an end by another than the owner"
            self.records[number] = record
        # Else it was known, or is a number used twice by one who slept: nobody may believe in it.

    def _present(self) -> dict[int, Record]:
        found = {}
        for path in self._ledger.iterdir():
            job, _, number = path.name.rpartition(".")
            if job == self._job:
                found[int(number)] = json.loads(path.read_bytes())
        return found

    def believes(self, worker: str, number: int) -> None:
        """`worker` takes itself for the owner of the claim `number`."""
        record = self.records.get(number)
        assert record is not None, "a claim without a record"
        assert (record["kind"], record["owner"]["worker"]) == ("claim", worker), "a claim that is another's"
        assert self._owners.setdefault(number, worker) == worker, "I2: two owners"

    def ended(self, worker: str, number: int, end: str) -> None:
        """`worker` has ended its claim `number` and was told that this stands."""
        record = self.records.get(number + 1)
        assert record is not None, "an end without a record"
        assert (record["end"], record["owner"]["worker"]) == (end, worker), "a stale commit"


def said(record: Record) -> str:
    """What a record says, in the model's words."""
    return str(record["end"]) if record["kind"] == "end" else CLAIM
