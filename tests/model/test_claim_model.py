"""The claim protocol, explored to the end; and each of its rules switched off, to see it break."""

from __future__ import annotations

import pytest

from model.claim_model import CLAIM, DEAD, ENDING, IDLE, SENDING, SHOWN_AS, Rules, World, explore, look, steps


@pytest.fixture(scope="module")
def worlds() -> set[World]:
    found, way = explore(Rules())
    assert way == []
    return found


def test_no_order_of_steps_reuses_a_number_or_lets_a_superseded_worker_end_a_job(worlds: set[World]) -> None:
    assert len(worlds) > 10_000


def test_the_newest_record_is_found_in_every_world(worlds: set[World]) -> None:
    for world in worlds:
        assert look(world) == (world.top, world.what), world


def test_no_job_is_ever_lost(worlds: set[World]) -> None:
    # Whatever happened: it is todo, or somebody's claim that may expire, or it has an end.
    for world in worlds:
        assert world.what or world.line == "todo", world


def test_a_first_line_that_lags_can_always_be_repaired(worlds: set[World]) -> None:
    lagging = 0
    for world in worlds:
        quiet = all(worker.at in (IDLE, DEAD) for worker in world.workers)
        parked = world.what == "released" and world.line != "ongoing"
        if not quiet or world.what in ("", CLAIM) or parked or world.line in ("todo", SHOWN_AS[world.what]):
            continue
        lagging += 1
        if any(worker.at == IDLE for worker in world.workers):
            assert any(label.endswith("goes to repair line 1") for label, _ in steps(world, Rules())), world
    assert lagging > 0


def _old_words(worlds: set[World]) -> set[World]:
    """Worlds at rest whose line 1 nobody typed and no scan can tell from a person's wish, although it is an old one."""
    quiet = {world for world in worlds if all(worker.at in (IDLE, DEAD) for worker in world.workers)}
    written = {world for world in quiet if world.what and not world.typed and not world.left}
    resent = {world for world in written if world.line == "todo" and world.what in ("success", "error")}
    return resent | {world for world in written if world.line in ("success", "error") and world.what == CLAIM}


def test_no_worker_leaves_an_old_word_that_looks_like_a_persons(worlds: set[World]) -> None:
    assert not _old_words(worlds)
    without, _ = explore(Rules(looks_again=False))
    assert _old_words(without), "the model would not notice"


def test_two_workers_may_send_at_once_so_sending_must_be_idempotent(worlds: set[World]) -> None:
    assert any(sum(worker.at in (SENDING, ENDING) for worker in world.workers) > 1 for world in worlds)


@pytest.mark.parametrize(
    "rules",
    [
        Rules(ledger=False),
        Rules(keeps_first=False),
        Rules(asks_predecessor=False),
    ],
    ids=["names are not exclusive", "compaction frees the first name", "the predecessor is not asked for"],
)
def test_without_one_of_its_rules_the_protocol_breaks(rules: Rules) -> None:
    _, way = explore(rules)
    assert way, "the model would not notice"
