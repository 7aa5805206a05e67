"""A stop of dockerd: who is saved, who is somebody else's, and who was started while it was going on."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from guardian.host import docker_daemon, facts, paths, systemd
from guardian.host.checkpoint import Checkpoint
from guardian.host.record import Record
from guardian.model.config import defaults
from guardian.model.container import Container
from guardian.model.errors import CannotSave
from guardian.model.graph import Graph, Member, build
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Purpose
from guardian.work import engine_cycle, second_try
from guardian.work.checkpoint import GiveUp
from guardian.work.host import Budget, Claims, Host
from tests.unit.samples import container, member

A, B, C = container("a"), container("b"), container("c")
AGAIN = dataclasses.replace(A, started_at="2026-01-01T00:00:09.000000001Z")


class _Save:
    """Stands for the save; `meanwhile` is what happens in the first."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.passes: list[list[Container]] = []
        self._meanwhile = meanwhile

    def __call__(self, _: Host, containers: Sequence[Container], **__: object) -> list[Result]:
        self.passes.append(sorted(containers, key=lambda item: item.name))
        if len(self.passes) == 1:
            self._meanwhile()
        return [Result(item.id, item.name, Outcome.SAVED, "", 0.0) for item in containers]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host on which a and b run."""
    monkeypatch.setattr(paths, "FACTS", tmp_path / "facts")
    (tmp_path / "facts").mkdir()
    monkeypatch.setattr(docker_daemon, "live_restore", lambda: False)
    monkeypatch.setattr(systemd, "active_state", lambda _: "active")
    monkeypatch.setattr(engine_cycle, "_alive", list)
    for item in (A, B):
        facts.keep(item)
    return Host.of(dataclasses.replace(defaults(), store_path=str(tmp_path / "store")))


def _keep(*containers: Container) -> Callable[[], None]:
    def keep() -> None:
        for item in containers:
            facts.keep(item)

    return keep


def test_what_is_started_in_a_save_is_saved_as_well(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one, and one that runs anew; nobody twice, and nobody whom another job has."""
    claims, save = Claims(), _Save(_keep(AGAIN, C))
    monkeypatch.setattr(engine_cycle, "_save", save)
    with claims.claim([B], "migration"), contextlib.ExitStack() as claimed:
        results = engine_cycle.engine_stops(host, claims, claimed, say=lambda _: None)
        assert claims.claimed().keys() == {A.id, B.id, C.id}, "until dockerd is let go"
    assert save.passes == [[A], [AGAIN, C]]
    assert sorted(item.name for item in results) == ["a", "a", "c"]
    assert not claims.claimed()


def test_nothing_is_begun_again_where_nothing_was_started(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = _Save(lambda: None)
    monkeypatch.setattr(engine_cycle, "_save", save)
    with contextlib.ExitStack() as claimed:
        engine_cycle.engine_stops(host, Claims(), claimed, say=lambda _: None)
    assert save.passes == [[A, B]]


def test_what_was_saved_is_said_whatever_becomes_of_the_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, said = _Save(_keep(C)), list[str]()

    def alive(containers: Sequence[Container]) -> list[Container]:
        if C in containers:
            raise CannotSave("runc's state is not understood")
        return list(containers)

    monkeypatch.setattr(engine_cycle, "_save", save)
    monkeypatch.setattr(engine_cycle, "_alive", alive)
    with contextlib.ExitStack() as claimed:
        results = engine_cycle.engine_stops(host, Claims(), claimed, say=said.append)
    assert sorted(item.name for item in results) == ["a", "b"]
    assert "not understood" in said[0]


def test_the_record_of_a_first_try_has_an_end(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else retention would keep it for ever."""
    first = host.ledger.begin(Record(A, Purpose.SUSPEND, 1.79e9, "boot", (A.id,), "", True, 0, False))
    tries: list[bool] = []

    def save(
        _: Host, __: Graph, chosen: Sequence[Member], *, given_up: GiveUp, **___: object
    ) -> list[Result]:
        tries.append(True)
        if len(tries) == 1:
            return [given_up(item, "the dump failed", first) for item in chosen]
        assert first.result() is None
        return [Result(A.id, A.name, Outcome.SAVED, "", 0.0)]

    monkeypatch.setattr(second_try, "checkpoint", save)
    second_try.save(host, build([], []), [member("a")], budget=Budget(60), say=lambda _: None)
    found = first.result()
    assert found is not None
    assert (found.outcome, found.reason) == (Outcome.FAILED, "the dump failed")


@pytest.mark.parametrize(("ends", "kept"), [(Outcome.COLD, None), (Outcome.STOPPED, Outcome.STOPPED)])
def test_a_second_try_that_cannot_begin_ends_in_the_record_of_the_first(
    host: Host, monkeypatch: pytest.MonkeyPatch, ends: Outcome, kept: Outcome | None
) -> None:
    """Found by make test-faults, imaging / full: the store was full by then, and the first record said `failed`."""
    first = host.ledger.begin(Record(A, Purpose.SUSPEND, 1.79e9, "boot", (A.id,), "", True, 0, False))
    tries: list[tuple[str, Checkpoint | None]] = [("the dump failed", first), ("no space in the store", None)]
    stopped: list[Checkpoint | None] = []

    def save(
        _: Host, __: Graph, chosen: Sequence[Member], *, given_up: GiveUp, **___: object
    ) -> list[Result]:
        return [given_up(item, *tries.pop(0)) for item in chosen]

    def stop(_: Host, item: Member, reason: str, made: Checkpoint | None, *, limit: float) -> Result:
        assert limit > 0
        stopped.append(made)
        return Result(item.container.id, item.container.name, ends, reason, 0.0)

    monkeypatch.setattr(second_try, "checkpoint", save)
    monkeypatch.setattr("guardian.work.stop.stop", stop)
    graph, said = build([], []), list[str]()
    [result] = second_try.save(host, graph, [member("a")], budget=Budget(60), say=said.append)
    assert (result.outcome, result.reason) == (ends, "no space in the store")
    assert stopped == [first]
    found = first.result()
    assert (found.outcome if found is not None else None) == kept
