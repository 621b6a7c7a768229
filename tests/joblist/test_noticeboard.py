from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bulkhaul.errors import StorageError
from bulkhaul.joblist.noticeboard import LINE, Noticeboard

SILENCE = 60.0


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(tmp_path: Path, clock: Clock) -> Callable[[], Noticeboard]:
    """The board of one more worker."""
    return lambda: Noticeboard(tmp_path / "rates", silence=SILENCE, clock=clock)


def tell(board: Noticeboard, text: str) -> tuple[list[str], bool]:
    """Write `text`; what the others had written, and whether they knew of us."""
    heard: list[tuple[list[str], bool]] = []

    def answer(others: Sequence[str], known: bool) -> str:
        heard.append((sorted(others), known))
        return text

    board.exchange(answer)
    return heard[0]


def test_each_hears_what_the_others_wrote_last(board: Callable[[], Noticeboard]) -> None:
    one, two, three = board(), board(), board()
    assert tell(one, "a 1") == ([], False)
    assert tell(two, "b 1") == (["a 1"], False)
    assert tell(one, "a 2") == (["b 1"], True)
    assert tell(three, "c 1") == (["a 2", "b 1"], False)
    assert sorted(board().read()) == ["a 2", "b 1", "c 1"]
    two.withdraw()
    assert tell(one, "a 3") == (["c 1"], True)


def test_a_file_that_is_not_there_holds_no_news_and_reading_makes_none(
    board: Callable[[], Noticeboard], tmp_path: Path
) -> None:
    assert board().read() == []
    assert list(tmp_path.iterdir()) == []


def test_many_workers_that_begin_together_all_find_a_place(board: Callable[[], Noticeboard], tmp_path: Path) -> None:
    workers = [board() for _ in range(200)]
    for _ in range(3):
        for number, worker in enumerate(workers):
            others, known = tell(worker, f"{number}")
    assert known
    assert len(others) == 199
    assert (tmp_path / "rates").stat().st_size <= 4 * 200 * LINE


@pytest.mark.parametrize(("taken", "known"), [(9_000, True), (9_999, True), (10_000, False)])
def test_among_very_many_workers_one_more_takes_a_place_that_is_read(
    board: Callable[[], Noticeboard], tmp_path: Path, taken: int, known: bool
) -> None:
    (tmp_path / "rates").write_bytes(b"x" * LINE * taken)
    one = board()
    tell(one, "a 1")
    assert tell(one, "a 2")[1] is known


def test_a_worker_whose_place_was_taken_finds_another(board: Callable[[], Noticeboard], tmp_path: Path) -> None:
    """Two that took the same place at the same moment: the first one's line is the second one's now."""
    one, other = board(), board()
    tell(one, "a")
    tell(other, "b")
    lines = (tmp_path / "rates").read_bytes()
    places = [start for start in range(0, len(lines), LINE) if lines[start]]
    mine, others = (lines[start : start + LINE] for start in places)
    if b" a " not in mine:
        mine, others = others, mine
    (tmp_path / "rates").write_bytes(lines.replace(mine, others))
    assert tell(one, "a 2")[1] is False
    heard, known = tell(one, "a 3")
    assert known
    assert set(heard) == {"b"}


def test_who_is_silent_for_long_enough_is_dead_and_its_place_is_free_again(
    board: Callable[[], Noticeboard], clock: Clock, tmp_path: Path
) -> None:
    one, dead = board(), board()
    tell(dead, "d")
    for _ in range(6):
        assert tell(one, "a")[0] == ["d"]
        clock.now += 10
    assert tell(one, "a")[0] == []
    assert board().read() == ["a"]
    assert tell(dead, "d")[1] is False, "it was only asleep, and begins anew"
    assert tell(one, "a")[0] == ["d"]


def test_who_changes_its_line_is_alive(board: Callable[[], Noticeboard], clock: Clock) -> None:
    one, other = board(), board()
    for _ in range(30):
        clock.now += 10
        tell(other, "the same words")
        assert tell(one, "a")[0] == ["the same words"]


def test_an_observer_that_stood_still_itself_begins_anew(board: Callable[[], Noticeboard], clock: Clock) -> None:
    one, other = board(), board()
    tell(other, "d")
    for _ in range(5):
        tell(one, "a")
        clock.now += 10
    clock.now += 1_000
    assert tell(one, "a")[0] == ["d"]
    for _ in range(5):
        clock.now += 10
        assert tell(one, "a")[0] == ["d"]
    clock.now += 10
    assert tell(one, "a")[0] == []


@pytest.mark.parametrize(
    "damage", [b"\xff" * 40, b"0" * LINE, b"\n", b"{}" * 500], ids=["some", "line", "newline", "all"]
)
def test_a_damaged_line_counts_as_not_yet_changed_and_mends_itself(
    board: Callable[[], Noticeboard], tmp_path: Path, damage: bytes
) -> None:
    one, other = board(), board()
    tell(other, "b 1")
    assert tell(one, "a")[0] == ["b 1"]
    path = tmp_path / "rates"
    lines = path.read_bytes()
    start = next(start for start in range(0, len(lines), LINE) if b" b 1 " in lines[start : start + LINE])
    with path.open("r+b") as file:
        file.seek(start + 20)
        file.write(damage)
    heard, _ = tell(one, "a")
    assert heard == ["b 1"]
    for _ in range(2):
        tell(other, "b 2")
        heard, _ = tell(one, "a")
    assert "b 2" in heard


@pytest.mark.parametrize("loss", ["removed", "emptied", "cut"])
def test_a_file_that_is_lost_is_made_again(board: Callable[[], Noticeboard], tmp_path: Path, loss: str) -> None:
    one, other = board(), board()
    tell(one, "a")
    tell(other, "b")
    path = tmp_path / "rates"
    if loss == "removed":
        path.unlink()
    else:
        os.truncate(path, 0 if loss == "emptied" else LINE // 2)
    for _ in range(2):
        tell(one, "a")
        heard, known = tell(other, "b")
    assert (heard, known) == (["a"], True)


def test_one_look_and_one_write_are_two_calls_on_one_open_file(
    board: Callable[[], Noticeboard], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = board(), board()
    tell(other, "b")
    tell(one, "a")
    calls: list[str] = []
    for name in ("open", "pread", "pwrite", "rename", "unlink", "link", "fsync", "stat", "listdir", "scandir"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, _name=name, _real=real, **more: (calls.append(_name), _real(*args, **more))[1]
        )
    tell(one, "a")
    assert calls == ["open", "pread", "pwrite"]


def test_a_file_that_cannot_be_written_is_an_error_of_the_storage(tmp_path: Path) -> None:
    (tmp_path / "rates").mkdir()
    with pytest.raises(StorageError, match="rates"):
        tell(Noticeboard(tmp_path / "rates", silence=SILENCE), "a")
    with pytest.raises(StorageError, match="rates"):
        Noticeboard(tmp_path / "rates", silence=SILENCE).read()
    Noticeboard(tmp_path / "rates", silence=SILENCE).withdraw()  # nothing of ours is there
