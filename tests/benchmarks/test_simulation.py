"""A small simulation of many workers: its invariants, that it repeats exactly, and figures that no machine changes.

The store itself asserts at each record that no job has two live owners and that none ends twice.
"""

from __future__ import annotations

import dataclasses

import pytest
import simulate as simulate_command
from simulation.campaign import Campaign, Outcome, simulate
from simulation.costs import Costs, measured
from simulation.regulators import agreeing, alone
from simulation.store import Store
from simulation.uploads import upload
from simulation.world import World

from bulkhaul.joblist.ledger import End, new_record
from bulkhaul.joblist.liveness import this_owner

SMALL = Campaign(workers=50, jobs=500, seed=1, lost_nodes=1, frozen_nodes=1, slurm_tells=300.0)
SHORT_TASKS = dataclasses.replace(SMALL, prefixes=2, time_limit=120.0)


@pytest.fixture(scope="module")
def costs() -> Costs:
    return measured()


@pytest.fixture(scope="module")
def outcome(costs: Costs) -> Outcome:
    return simulate(SMALL, costs)


def test_each_job_ends_once_whatever_is_lost_and_frozen(outcome: Outcome) -> None:
    account = outcome.account
    assert account.taken_over, "a node was lost"
    assert account.lost_claims > 0, "a node was frozen for longer than a lease"
    assert outcome.missing == []
    assert (account.ended, account.errors) == (SMALL.jobs, 0)


def test_each_job_ends_once_when_time_limits_cut_it_off(costs: Costs) -> None:
    outcome = simulate(SHORT_TASKS, costs)
    account = outcome.account
    assert account.released > 0
    assert account.requeued > 0
    assert outcome.missing == []
    assert (account.ended, account.errors) == (SMALL.jobs, 0)


def test_only_what_was_in_flight_when_a_node_froze_is_sent_twice(outcome: Outcome) -> None:
    assert outcome.account.duplicates <= 4 * outcome.account.lost_claims


def test_a_lost_nodes_jobs_run_again_within_a_lease_and_two_scans_once_somebody_is_idle(outcome: Outcome) -> None:
    longest = max(took for _, took in outcome.store.scans)
    busy = 60.0  # seconds until the first worker has nothing else to do
    assert max(outcome.account.taken_over) <= busy + 1.25 * 180 + 2 * longest


def waiting_calls(outcome: Outcome) -> int:
    """All calls of idle workers but the looks at owners."""
    return outcome.account.idle_calls.total() - outcome.account.idle_calls["looks"]


@pytest.mark.parametrize("campaign", [SMALL, SHORT_TASKS], ids=["deaths", "time limits"])
def test_an_idle_worker_asks_little(campaign: Campaign, costs: Costs) -> None:
    outcome = simulate(campaign, costs)
    account = outcome.account
    assert account.idle_seconds > SMALL.workers * 60, "many wait for the lost node's jobs"
    assert waiting_calls(outcome) / account.idle_seconds <= 0.2


def test_a_worker_that_waits_for_a_long_scan_asks_little(costs: Costs) -> None:
    # As long as a scan of 10^5 jobs: fifteen minutes.
    slow = dataclasses.replace(costs, scan_todo=10_000.0, scan_done=10_000.0)
    campaign = dataclasses.replace(SMALL, files=0, lost_nodes=0, frozen_nodes=0, slurm_tells=None)
    outcome = simulate(campaign, slow)
    assert len(outcome.store.scans) <= 4, "patience with a scan that nobody expects to be so long"
    account = outcome.account
    assert account.idle_seconds > SMALL.workers * 1_000
    assert waiting_calls(outcome) / account.idle_seconds <= 0.1


def test_the_same_seed_gives_the_same_results_and_another_does_not() -> None:
    first, again, other = (
        simulate_command.simulated(["claims", "joblist"], workers=20, jobs=100, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again
    assert first["tables"] != other["tables"]


def test_the_results_are_of_the_form_that_a_page_can_show() -> None:
    found = simulate_command.simulated(["claims", "joblist", "silence"], workers=20, jobs=100, seed=3)
    assert set(found) == {"title", "notes", "tables", "plots", "figures"}
    for table in found["tables"]:
        assert set(table) == {"title", "columns", "rows"}
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    for plot in found["plots"]:
        assert set(plot) == {"title", "x", "y", "log_x", "log_y", "series"}
        assert all(len(point) == 2 for line in plot["series"] for point in line["points"])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 20])
def test_workers_use_nine_tenths_of_a_prefix_and_are_seldom_refused(workers: int) -> None:
    for regulators in (alone(workers), agreeing(workers, seed=1)):
        traffic = upload(regulators, seconds=30.0, seed=1)
        assert traffic.share(10.0) >= 0.9
        assert traffic.refused_share(10.0) <= 0.1
        assert traffic.given_up == 0


@pytest.mark.slow
def test_workers_that_agree_are_seldom_refused_in_each_of_several_runs() -> None:
    runs = [upload(agreeing(20, seed=seed), seconds=30.0, seed=seed) for seed in range(4)]
    assert min(traffic.share(10.0) for traffic in runs) >= 0.9
    assert max(traffic.refused_share(10.0) for traffic in runs) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 5, 6])
def test_workers_that_agree_share_a_prefix_evenly_whoever_came_first(seed: int) -> None:
    traffic = upload(agreeing(8, seed=seed), seconds=50.0, seed=seed)
    assert traffic.fairness() >= 0.95
    assert traffic.share() >= 0.9
    assert traffic.refused_share(10.0) <= 0.1


def test_the_store_sees_a_broken_protocol(costs: Costs) -> None:
    store, ours, theirs = Store(World(), ["a"], costs=costs, seed=1), this_owner(), this_owner()
    assert store.put(new_record("a", 1, ours, text=""), live=lambda _owner: True)
    assert not store.put(new_record("a", 1, theirs, text=""), live=lambda _owner: True), "the number is taken"
    with pytest.raises(AssertionError, match="two live owners"):
        store.put(new_record("a", 2, theirs, text=""), live=lambda _owner: True)
    with pytest.raises(AssertionError, match="by the owner"):
        store.put(new_record("a", 2, theirs, end=End.SUCCESS, text=""), live=lambda _owner: True)
    assert store.put(new_record("a", 2, ours, end=End.SUCCESS, text=""), live=lambda _owner: True)
    with pytest.raises(AssertionError, match="two live owners"):
        store.put(new_record("a", 3, theirs, text=""), live=lambda _owner: True)
