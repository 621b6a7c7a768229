"""Stands in for a numbered script: notes how it was started and which signals came, and ends as the test says.

In the checkout it reads `behaviour.json`: {"seconds": how long to run, "code": exit code, "signals": how many end it,
"on_signal": exit code after these, "linger": seconds between the last of them and the end}. It writes
`run-TASK-RESTARTS.json` at its start, at each signal and at its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

checkout = Path(__file__).parents[1]
behaviour = {"seconds": 0.0, "code": 0, "signals": 1, "on_signal": 75, "linger": 0.0}
if (checkout / "behaviour.json").exists():
    behaviour |= json.loads((checkout / "behaviour.json").read_text())
task, restarts = os.environ.get("SLURM_ARRAY_TASK_ID", "none"), os.environ.get("SLURM_RESTART_COUNT", "0")
record = checkout / f"run-{task}-{restarts}.json"
signals: list[str] = []


def note(*, ended: bool = False) -> None:
    facts = {
        "arguments": sys.argv[1:],
        "signals": signals,
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "interpreter": sys.executable,
        "ended": ended,
    }
    fresh = record.with_suffix(".new")
    fresh.write_text(json.dumps(facts))
    fresh.replace(record)


def receive(number: int, _frame: object) -> None:
    signals.append(signal.Signals(number).name)


for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, receive)
note()
end = time.monotonic() + behaviour["seconds"]
noted = 0
while len(signals) < behaviour["signals"] and time.monotonic() < end:
    time.sleep(0.05)
    if noted < len(signals):
        noted = len(signals)
        note()
time.sleep(behaviour["linger"] if signals else 0)
note(ended=True)
sys.exit(int(behaviour["on_signal"] if signals else behaviour["code"]))
