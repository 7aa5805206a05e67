"""The word about a group that another host takes over."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from guardian.host.checkpoint import Checkpoint
from guardian.model.errors import CannotSave
from guardian.model.states import State, Verdict
from guardian.work.departure import Departure

MOVE = "0123456789abcdef" * 2


class Talk:
    """Answers with what it was made with."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.said: list[Mapping[str, Any]] = []
        self._answer = dict(answer)

    def tell(self, data: Mapping[str, Any]) -> None:
        self.said.append(data)

    def hear(self, limit: float) -> dict[str, Any]:
        assert limit == 5.0
        return self._answer


def made(store: Path, letter: str) -> Checkpoint:
    """A checkpoint that departs."""
    folder = store / (letter * 64) / "20260101T000000000-abcdef"
    (folder / "ledger").mkdir(parents=True)
    (folder / "purpose").write_text("suspend\n")
    (folder / "format").write_text("1\n")
    for word in Verdict:
        (folder / f"word.{word.value}").write_text(f"{word.value}\n")
    checkpoint = Checkpoint(folder)
    checkpoint.depart(MOVE, "two")
    return checkpoint


def handed_over(departure: Departure, ids: list[str]) -> dict[str, str]:
    """What each member was told, each in a thread of its own."""
    told: dict[str, str] = {}

    def one(container_id: str) -> None:
        try:
            departure.hand_over(container_id)
            told[container_id] = "commit"
        except CannotSave:
            told[container_id] = "void"

    threads = [threading.Thread(target=one, args=(container_id,)) for container_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return told


@pytest.mark.parametrize(
    ("answer", "word"),
    [({"word": "commit"}, "commit"), ({"word": "void"}, "void"), ({}, "void"), ({"word": 1}, "void")],
)
def test_all_members_get_the_one_word(tmp_path: Path, answer: dict[str, Any], word: str) -> None:
    talk = Talk(answer)
    departure = Departure(MOVE, "two", 5.0, talk)
    members = [made(tmp_path, letter) for letter in "abc"]
    departure.begin([(item.container_id[:1], item) for item in members])
    told = handed_over(departure, [item.container_id for item in members])
    assert set(told.values()) == {word}
    assert len(told) == 3
    assert [list(item) for item in talk.said] == [["begun"], ["dumped"]]


def test_one_that_fails_keeps_all_here(tmp_path: Path) -> None:
    talk = Talk({"word": "commit"})
    departure = Departure(MOVE, "two", 5.0, talk)
    members = [made(tmp_path, letter) for letter in "ab"]
    departure.begin([("x", item) for item in members])
    departure.give_up(members[1].container_id)
    assert handed_over(departure, [members[0].container_id]) == {members[0].container_id: "void"}
    assert all("dumped" not in item for item in talk.said)


def test_the_verdict_is_one_for_all_and_told_once(tmp_path: Path) -> None:
    talk = Talk({})
    departure = Departure(MOVE, "two", 5.0, talk)
    one, other = made(tmp_path, "a"), made(tmp_path, "b")
    assert one.decide(Verdict.COMMIT) is Verdict.COMMIT
    departure.decided(other)
    departure.decided(one)
    assert talk.said == [{"verdict": "commit"}]
    assert other.verdict() is Verdict.COMMIT
    assert one.state() is other.state() is State.MOVED
    assert not other.restorable()
    assert other.elsewhere()


def test_a_script_that_ended_without_a_verdict_makes_it_void(tmp_path: Path) -> None:
    talk = Talk({})
    one, other = made(tmp_path, "a"), made(tmp_path, "b")
    Departure(MOVE, "two", 5.0, talk).decided(one)
    assert talk.said == [{"verdict": "void"}]
    assert other.decide(Verdict.COMMIT) is Verdict.VOID
    assert other.state() is State.VOID
    assert not other.elsewhere()


def test_a_move_is_open_until_the_other_host_knows(tmp_path: Path) -> None:
    one = made(tmp_path, "a")
    assert one.open_move() == ""
    one.decide(Verdict.COMMIT)
    assert one.open_move() == MOVE
    travel = one.travel()
    assert travel is not None
    assert (travel.move, travel.host) == (MOVE, "two")
    (one.folder / "img").mkdir()
    one.close_move(runs=True)
    assert not (one.folder / "img").exists()
    assert one.open_move() == ""


def test_an_arrival_is_undecided_until_its_source_has_said_so(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 64) / "20260101T000000000-abcdef"
    (folder / "ledger").mkdir(parents=True)
    (folder / "purpose").write_text("suspend\n")
    (folder / "format").write_text("1\n")
    (folder / "word.commit").write_text("commit\n")
    found = Checkpoint(folder)
    found.decide(Verdict.COMMIT)
    assert found.restorable()
    found.arrive(MOVE, "one", tmp_path / "socket", 60)
    assert found.intact()
    assert found.undecided()
    assert found.elsewhere()
    assert not found.restorable()
    found.mark(State.ARRIVED)
    assert found.restorable()
    assert not found.elsewhere()
