"""What may not be seen after a wake, judged by files alone; knows the layout of a joblist, and no code of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_LINE = {None: "ongoing", "success": "success", "error": "error", "released": "todo"}


def problems(folder: Path, accounts: list[Path], *, woken: float, number_then: int) -> list[str]:
    """What is wrong with the only job in `folder`, whose newest record was `number_then` when the sleeper was `woken`.

    `accounts` are what the sleeper and the rescuer wrote down, in this order.
    """
    ledger = records(folder)
    newest = max(ledger, default=0)
    said = [[line.split() for line in path.read_text().splitlines()] if path.exists() else [] for path in accounts]
    owned = [{int(words[1]) for words in lines if words[0] == "owns"} for lines in said]
    ended = [{int(words[1]) for words in lines if words[0] == "ended"} for lines in said]
    found = []
    if owned[0] & owned[1]:
        found.append("double claim")
    for mine, other in ((0, 1), (1, 0)):
        if any(number + 1 in owned[other] or number not in owned[mine] for number in ended[mine]):
            found.append("stale commit")
    found += [
        "stale commit"
        for number, record in ledger.items()
        if record["end"] and number - 1 in ledger and ledger[number - 1]["owner"] != record["owner"]
    ]
    told = max((*owned[0], *owned[1], *(number + 1 for number in ended[0] | ended[1])), default=newest)
    if newest < told:
        found.append("lost record")
    line = (folder / "a.txt").read_bytes().split(b"\n")[0].decode()
    if newest and line != _LINE[ledger[newest]["end"]]:
        found.append(f"line 1 is {line} at {ledger[newest]['kind']} {ledger[newest]['end']}")
    late = [words for words in said[0] if words[0] == "sent" and float(words[2]) > woken]
    # What stood between a check and its request when the signal came is sent; nothing after it.
    if sum(int(words[1]) < number_then for words in late) > 1:
        found.append("stale send")
    return found


def records(folder: Path) -> dict[int, dict[str, Any]]:
    """The ledger by the numbers that its records tell."""
    ledger = {}
    for path in (folder / ".bulkhaul" / "ledger").iterdir():
        if not path.name.startswith("."):
            record = json.loads(path.read_bytes())
            ledger[int(record["generation"])] = record
    return ledger


def newest_number(folder: Path) -> int:
    """The highest number in the ledger, 0 in an empty one."""
    return max(records(folder), default=0)
