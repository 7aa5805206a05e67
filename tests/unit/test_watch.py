"""Holds end when their time is over, but for those of a person and those of a container that is elsewhere."""

from __future__ import annotations

import dataclasses

import pytest

from guardian.host import docker_daemon, gate
from guardian.model.config import defaults
from guardian.model.errors import BadInput
from guardian.work.host import Claims, Host
from guardian.work.watch import Watch
from tests.unit.samples import id_of

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
