"""What a campaign counts, and what its watch of the ledger says where it cannot see."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from faults.campaign.ledger import Watch, faults_of_ledger
from faults.campaign.proxy import parse_head
from faults.campaign.run import LEAST_FAULTS, Verdict
from faults.campaign.wire import KINDS
from faults.campaigns import summed


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    folder = tmp_path / ".bulkhaul" / "ledger"
    folder.mkdir(parents=True)
    return folder


def put(ledger: Path, number: int, *, says: int) -> None:
    record = {"job": "a", "generation": says, "nonce": says, "kind": "claim", "owner": {"worker": "w"}}
    (ledger / f"a.{number:06d}").write_text(json.dumps(record))


def test_a_record_that_cannot_be_read_is_a_fault_and_ends_no_watch_in_silence(tmp_path: Path, ledger: Path) -> None:
    with Watch(tmp_path) as watch:
        (ledger / "a.000001").write_bytes(b"half a rec")
        assert watch._thread is not None
        watch._thread.join(10)
        (ledger / "a.000001").unlink()
    (fault,) = watch.faults()
    assert "the watch of the ledger ended: JSONDecodeError" in fault


@pytest.mark.parametrize(("numbers", "sound"), [((2, 3, 4), True), ((3, 4), True), ((5, 6), False)])
def test_a_gap_after_a_compaction_is_seen(tmp_path: Path, ledger: Path, numbers: tuple[int, ...], sound: bool) -> None:
    put(ledger, 1, says=3)
    for number in numbers:
        put(ledger, number, says=number)
    assert bool(faults_of_ledger(tmp_path, "a")) is not sound


def test_a_campaign_that_met_too_few_faults_proves_nothing_and_may_yet_fail() -> None:
    enough = Counter({"kill -9": LEAST_FAULTS})
    mild = Counter({"kill -9": LEAST_FAULTS - 1})
    good = Verdict(1, enough, objects=1000, jobs=7)
    figure = summed([good, Verdict(2, mild, objects=1000, jobs=7), Verdict(3, mild, ["a job is lost"])], seed=1)
    assert (figure.trials, figure.failures) == (2, 1)
    assert figure.facts["objects judged"] == 1000
    assert figure.facts["campaigns that met too few"] == 1
    assert figure.facts["failed seeds"] == "3"


@pytest.mark.parametrize(("method", "fits"), [("GET", True), ("POST", True), ("PUT", False), ("HEAD", False)])
def test_a_bit_flips_only_in_an_answer_that_has_a_body(method: str, fits: bool) -> None:
    head = parse_head(f"{method} /bucket/key HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert KINDS["bit of the answer flipped"][0](head) is fits
