"""What the runs show, as tables and plots: plain values that a page or a terminal can show."""

from __future__ import annotations

import statistics
from typing import Any

from reports import table

from simulation.campaign import Outcome
from simulation.costs import measured
from simulation.runs import SETTLED, Sending
from simulation.store import SLOT

Table = dict[str, Any]

NOTES = [
    "A simulation in virtual time that drives bulkhaul's own decisions: the order in which workers look for work, the "
    "table of standings, expiry by observation, succession, requeueing, retries, pacing and the cap of a bucket.",
    "The file system calls of each step were counted on the real code; each takes 0.5 to 5 ms, evenly drawn. Listings "
    "bring 500 names a call. Locks of single jobs are always free, and no call waits for another's.",
    "A worker is idle from the first pause of its search until it has a job or goes home, where that takes 30 s or "
    "more. The calls of its search before that pause, tries and listings, are shown beside it.",
    "S3 takes 3,500 PUT a second for a prefix and a tenth of a second's worth at once, and answers SlowDown to the "
    "rest; a PUT takes about 30 ms. The rate of a prefix does not grow, as Amazon's does in time.",
    "Plates have 1,000 files in the mean, drawn log-normally, on ten prefixes that give 90 % of their limit. A node "
    "has ten workers. SLURM notices its loss after 300 s and starts its tasks again 30 s later; frozen nodes stand "
    "still for 400 s.",
]


def plot(title: str, x: str, y: str, series: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """One plot of lines."""
    lines = [{"name": name, "points": [list(point) for point in points]} for name, points in series.items()]
    return {"title": title, "x": x, "y": y, "log_x": False, "log_y": False, "series": lines}


def of_claims(outcome: Outcome) -> Table:
    """How fast claims can be."""
    campaign, account, costs = outcome.campaign, outcome.account, measured()
    rows = [
        ["workers", campaign.workers],
        ["jobs", campaign.jobs],
        ["claims/s until the last job", _figure(campaign.jobs / account.last_end)],
        ["tries that met another's claim, for each claim", _figure(account.missed / campaign.jobs)],
        ["file system calls of a claim and its end", costs.claim + costs.end],
        ["of these create, link, rename, unlink, fsync (<= 24)", costs.changes],
    ]
    return table("Claims of jobs that need no time", ["what", "found"], rows)


def of_joblist(outcome: Outcome) -> Table:
    """A joblist from its beginning to its end."""
    campaign, account, store = outcome.campaign, outcome.account, outcome.store
    calls = store.calls.total()
    waiting = account.idle_calls.total() - account.idle_calls["looks"]
    rows = [
        ["workers", campaign.workers],
        ["jobs", campaign.jobs],
        ["files", account.sent],
        ["seconds until the last job has ended", _figure(account.last_end)],
        ["seconds until the last worker has gone home", _figure(outcome.seconds)],
        ["claims/s, most in 10 s", _figure(max(store.claims.values()) / SLOT)],
        ["metadata operations/s of all, mean", _figure(calls / outcome.seconds)],
        ["metadata operations/s of all, most in 10 s", _figure(max(store.curve.values()) / SLOT)],
        ["metadata operations for each job", _figure(calls / campaign.jobs)],
        ["seconds that a worker was idle, mean", _figure(account.idle_seconds / campaign.workers)],
        ["metadata operations from a worker's last job to that wait, mean", _per(account.before_waits, account.waits)],
        ["metadata operations/s of an idle worker (<= 0.2)", _per(waiting, account.idle_seconds)],
        ["the same with its looks at owners", _per(account.idle_calls.total(), account.idle_seconds)],
        ["jobs given back at the time limit", account.released],
        ["claims taken over", len(account.taken_over)],
        ["claims lost by workers that were frozen", account.lost_claims],
        ["files sent twice, at most", account.duplicates],
        ["jobs that ended twice or not at all", len(outcome.missing)],
    ]
    return table("A joblist from beginning to end", ["what", "found"], rows)


def of_calls(outcome: Outcome) -> Table:
    """File system calls by what they are for."""
    calls = outcome.store.calls
    rows = [
        [kind, count, _figure(count / outcome.campaign.jobs), _figure(100 * count / calls.total())]
        for kind, count in calls.most_common()
    ]
    return table("Metadata operations by purpose", ["purpose", "calls", "for each job", "%"], rows)


def of_deaths(outcomes: dict[str, Outcome]) -> Table:
    """How long a lost node's jobs lie still."""
    rows = []
    for name, outcome in outcomes.items():
        found = sorted(outcome.account.taken_over)
        figures = (
            [_figure(value) for value in (found[0], statistics.median(found), found[-1])] if found else ["", "", ""]
        )
        rows.append([name, outcome.campaign.workers, outcome.campaign.jobs, len(found), *figures])
    columns = ["known by", "workers", "jobs", "jobs taken over", "first, s", "median, s", "last, s"]
    return table("From the loss of a node until its jobs run again", columns, rows)


def of_sending(found: list[Sending]) -> Table:
    """What many workers make of one prefix."""
    rows = [
        [
            one.workers,
            one.regulated,
            _figure(100 * one.traffic.share()),
            _figure(100 * one.traffic.share(SETTLED)),
            _figure(100 * one.traffic.refused_share(SETTLED)),
            _figure(one.traffic.fairness()),
            one.traffic.given_up,
        ]
        for one in found
    ]
    after = f"after {SETTLED:.0f} s"
    columns = ["workers", "regulated", "% of the limit (>= 90)", f"% {after}", f"% refused {after} (<= 10)"]
    return table("One prefix", [*columns, "Jain's index", "given up"], rows)


def curves(outcome: Outcome) -> list[dict[str, Any]]:
    """Claims and metadata operations over the time of one joblist."""
    store = outcome.store
    slots = range(int(outcome.seconds / SLOT))
    return [
        plot(
            "Metadata operations of all workers",
            "seconds",
            "operations/s",
            {"all": [(slot * SLOT, store.curve[slot] / SLOT) for slot in slots]},
        ),
        plot(
            "Claims of all workers",
            "seconds",
            "claims/s",
            {"all": [(slot * SLOT, store.claims[slot] / SLOT) for slot in slots]},
        ),
    ]


def rates(found: list[Sending]) -> list[dict[str, Any]]:
    """What S3 took and refused, second by second."""
    return [
        plot(
            f"PUT that one prefix {word}, workers {one}",
            "seconds",
            "PUT/s",
            {
                f"{sending.workers}": [
                    (second, float(getattr(sending.traffic, name)[second]))
                    for second in range(int(sending.traffic.seconds))
                ]
                for sending in found
                if sending.regulated == one
            },
        )
        for word, name in (("took", "taken"), ("refused", "refused"))
        for one in dict.fromkeys(sending.regulated for sending in found)
    ]


def printed(results: dict[str, Any]) -> str:
    """The tables as text."""
    lines = []
    for one in results["tables"]:
        rows = [one["columns"], *([str(value) for value in row] for row in one["rows"])]
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines += ["", one["title"]]
        lines += ["  " + "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _per(calls: int, unit: float) -> float:
    return _figure(calls / unit) if unit else 0


def _figure(value: float) -> float:
    """Three digits."""
    return float(f"{value:.3g}") if abs(value) < 100 else round(value)
