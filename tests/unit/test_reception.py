"""What a move has made, written down so that it can be taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from guardian.host.docker_arrivals import Arrivals
from guardian.host.ledger import Ledger
from guardian.model.config import defaults
from guardian.model.errors import BadInput, Busy, UnknownContainer
from guardian.work import reception
from guardian.work.host import Host
from guardian.work.reception import Reception

MOVE = "0123456789abcdef" * 2
CONTAINER = "c" * 64


class Engine:
    """A dockerd that has some things."""

    def __init__(self, started_at: str = "0001-01-01T00:00:00Z") -> None:
        self.started_at = started_at
        self.done: list[tuple[str, ...]] = []

    def inspection(self, name: str) -> dict[str, Any]:
        if name != CONTAINER:
            raise UnknownContainer(name)
        return {"Id": CONTAINER, "State": {"StartedAt": self.started_at}}

    def wait_until_down(self, name: str, *, limit: float) -> None:
        assert name
        assert limit > 0

    def remove(self, name: str) -> None:
        self.done.append(("remove", name))

    def remove_network(self, name: str) -> None:
        self.done.append(("network", name))

    def remove_volume(self, name: str) -> None:
        self.done.append(("volume", name))

    def rename(self, name: str, to: str) -> None:
        self.done.append(("rename", name, to))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(defaults(), Ledger(tmp_path))


def test_it_is_taken_back_in_reverse(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("guardian.host.paths.HOLDS", tmp_path)
    monkeypatch.setattr("guardian.host.paths.FENCE", tmp_path)
    engine = Engine()
    coming = Reception(host, MOVE)
    with coming.open():
        for kind, name in (
            ("rename", f"{CONTAINER} web"),
            ("network", "n"),
            ("volume", "v"),
            ("container", CONTAINER),
        ):
            coming.intend(kind, name)
    assert reception.expects(host, CONTAINER)
    again = Reception(host, MOVE)
    with again.open():
        again.take_back(cast(Arrivals, engine))
    assert engine.done == [
        ("remove", CONTAINER),
        ("volume", "v"),
        ("network", "n"),
        ("rename", CONTAINER, "web"),
    ]
    assert not coming.folder.exists()
    assert not reception.expects(host, CONTAINER)


def test_what_was_started_meanwhile_is_the_users(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "_DOWN_LIMIT", 0.1)
    engine = Engine(started_at="2026-11-25T22:00:00Z")
    coming = Reception(host, MOVE)
    with coming.open():
        coming.intend("container", CONTAINER)
        coming.intend("container", "d" * 64)
        coming.take_back(cast(Arrivals, engine))
    assert engine.done == []


def test_one_receives_at_a_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "_SWEPT", 0.1)
    first, second = Reception(host, MOVE), Reception(host, MOVE)
    with first.open():
        first.intend("network", "n")
        with pytest.raises(Busy), second.open():
            pass
    assert first.folder.exists()


def test_nothing_made_leaves_nothing(host: Host) -> None:
    coming = Reception(host, MOVE)
    with coming.open():
        assert coming.folder.exists()
    assert not coming.folder.exists()


def test_a_vote_is_kept(host: Host) -> None:
    coming = Reception(host, MOVE)
    with coming.open():
        coming.vote()
    assert Reception(host, MOVE).voted


@pytest.mark.parametrize("name", ["", "x", "../" * 5, "A" * 32, "0" * 31])
def test_a_move_is_named_in_hex(host: Host, name: str) -> None:
    with pytest.raises(BadInput):
        Reception(host, name)
