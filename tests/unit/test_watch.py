"""Following dockerd: what a stop of it sets, what must be known in time, and when holds end."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from guardian.host import docker_daemon, facts, gate, paths
from guardian.model.config import defaults
from guardian.model.container import Container
from guardian.model.errors import BadInput, StoreError
from guardian.work import user_stop
from guardian.work.host import Claims, Host
from guardian.work.watch import Watch
from tests.unit.samples import container, id_of

GUARDIANS, PERSONS, ELSEWHERE, NONE, UNREADABLE = (id_of(name) for name in ("a", "b", "c", "d", "e"))


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
    by_person: bool | None

    def record(self) -> _Checkpoint:
        if self.by_person is None:
            raise BadInput("it does not parse")
        return self


class _Ledger:
    """Of each container, by whom its checkpoint was asked for."""

    def elsewhere(self, container_id: str) -> object | None:
        return self if container_id == ELSEWHERE else None

    def pending(self, container_id: str) -> _Checkpoint | None:
        found = {GUARDIANS: False, PERSONS: True, ELSEWHERE: True, UNREADABLE: None}
        return None if container_id == NONE else _Checkpoint(found[container_id])


@pytest.mark.parametrize("dockerd", [0, 4711])
def test_a_hold_that_a_person_asked_for_has_no_end(dockerd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no time runs while dockerd is down."""
    config = dataclasses.replace(defaults(), hold_expiry=60.0)
    watch = Watch(Host(config, _Ledger()), Claims())  # type: ignore[arg-type]
    ended: list[str] = []
    held = [GUARDIANS, PERSONS, ELSEWHERE, NONE, UNREADABLE]
    monkeypatch.setattr(gate, "holds", lambda: held)
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: dockerd)
    monkeypatch.setattr(watch, "_expire", ended.append)
    for _ in range(6):  # it was made at some time before the first
        watch._count()
    assert ended == []
    watch._count()
    assert ended == ([GUARDIANS, NONE, UNREADABLE] if dockerd else [])


def test_what_a_stop_sets_holds_for_the_dockerd_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one may be up already when the connection to it is let go: then nothing would be restored."""
    watch = Watch(Host(defaults(), _Ledger()), Claims())  # type: ignore[arg-type]
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: 1)
    watch.engine_stop.begin()
    assert watch.engine_stop.under_way().is_set()
    assert not watch.engine_stop.is_saved(1), "it is followed until all are saved"
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: 2)
    assert not watch.engine_stop.under_way().is_set()
    watch.let_go()
    assert not watch.engine_stop.under_way().is_set()
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: 1)
    assert not watch.engine_stop.is_saved(2)
    assert watch.engine_stop.is_saved(1)


def test_a_save_may_take_longer_than_the_stop_of_dockerd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it has ended nothing is restored, and for a while after it."""
    now = 1000.0
    watch = Watch(Host(defaults(), _Ledger()), Claims())  # type: ignore[arg-type]
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: 1)
    monkeypatch.setattr("guardian.work.engine_stop.time.monotonic", lambda: now)
    watch.engine_stop.begin()
    now += defaults().checkpoint_budget
    assert watch.engine_stop.under_way().is_set()
    watch.let_go()
    now += 299
    assert watch.engine_stop.under_way().is_set()
    now += 2
    assert not watch.engine_stop.under_way().is_set(), "it was not stopped after all"


def test_a_stop_is_not_forgotten_by_who_asks_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(Host(defaults(), _Ledger()), Claims())  # type: ignore[arg-type]
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: 1)
    look, begun = watch.engine_stop._is_of, threading.Thread(target=watch.engine_stop.begin)

    def looked(pid: int) -> bool:
        found = look(pid)
        begun.start()  # between the look and what follows from it
        begun.join(0.2)
        return found

    monkeypatch.setattr(watch.engine_stop, "_is_of", looked)
    stopping = watch.engine_stop.under_way()
    begun.join()
    assert stopping.is_set()


def test_one_folder_that_cannot_be_read_keeps_nobody_else_held(monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged(_Ledger):
        def elsewhere(self, container_id: str) -> object | None:
            if container_id == GUARDIANS:
                raise StoreError("the store cannot be read", "Input/output error")
            return super().elsewhere(container_id)

    watch = Watch(Host(dataclasses.replace(defaults(), hold_expiry=60.0), Damaged()), Claims())  # type: ignore[arg-type]
    ended: list[str] = []
    monkeypatch.setattr(gate, "holds", lambda: [GUARDIANS, NONE])
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: 1)
    monkeypatch.setattr(watch, "_expire", ended.append)
    for _ in range(7):
        watch._count()
    assert NONE in ended


def test_a_store_that_hangs_keeps_no_facts_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What dockerd says is in /run in time: what is started in a save is saved as well."""
    monkeypatch.setattr(paths, "FACTS", tmp_path)
    labels = {"guardian.enable": "true"}
    hangs, asked = threading.Event(), threading.Event()
    one, other = container("c", running=False), container("b", labels=labels)

    class Hung(_Ledger):
        def pending(self, container_id: str) -> _Checkpoint | None:
            asked.set()
            assert hangs.wait(5)
            return super().pending(container_id)

    class Dockerd:
        def container(self, container_id: str) -> Container:
            return next(item for item in (one, other) if item.id == container_id)

        def close(self) -> None:
            pass

    watch = Watch(Host(defaults(), Hung()), Claims())  # type: ignore[arg-type]
    monkeypatch.setattr("guardian.work.watch.Engine", Dockerd)
    threading.Thread(target=watch._write_notes, daemon=True).start()
    watch._keep(Dockerd(), one.id)  # type: ignore[arg-type]
    assert asked.wait(5)
    watch._keep(Dockerd(), other.id)  # type: ignore[arg-type]
    known = [item.id for item in facts.kept()]
    hangs.set()
    assert known == [other.id]


def test_dockerd_is_let_go_once_its_users_stops_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """And after a while in any case."""
    watch = Watch(Host(defaults(), _Ledger()), Claims())  # type: ignore[arg-type]
    monkeypatch.setattr(docker_daemon, "running_pid", lambda: 1)
    heard, over = list[tuple[object, ...]](), threading.Event()

    def hear(*told: object) -> None:
        over.wait(0.2 if len(heard) == 0 else 60)
        heard.append(told[1:])

    monkeypatch.setattr(user_stop, "heard", hear)
    watch.engine_stop.begin()
    kill = {"Action": "kill", "id": "a", "Actor": {"Attributes": {"signal": "15"}}}
    watch._hear_stop(kill)
    watch.let_go()
    assert heard == [("a", "15")]
    watch._hear_stop({"Action": "stop", "id": "a", "Actor": {"Attributes": {"signal": "of a label"}}})
    monkeypatch.setattr("guardian.work.watch._OUTCOME_LIMIT", 0.1)
    watch.let_go()
    over.set()
    assert watch.engine_stop.is_saved(1)
